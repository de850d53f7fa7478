"""What a client that resends in silence looks like from the server: a proxy that sends every tenth request twice.

Behind it is the bundled server. The client gets one answer and knows of one attempt; everything is real.
"""

import asyncio
import sys

HEAD_END = b"\r\n\r\n"


async def read_message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(HEAD_END)
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head + await reader.readexactly(length)


async def main() -> None:
    port, *command = sys.argv[1:]
    behind = int(command[command.index("--port") + 1])
    server = await asyncio.create_subprocess_exec(*command)
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        from_server, to_server = await asyncio.open_connection("127.0.0.1", behind)
        try:
            while True:
                request = await read_message(reader)
                count += 1
                for _ in range(2 if count % 10 == 0 else 1):
                    to_server.write(request)
                    answer = await read_message(from_server)
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            to_server.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", int(port))
    async with listener:
        await server.wait()


if __name__ == "__main__":
    asyncio.run(main())
