"""Examples of the documentation that is this server's specification, word for word; more in test_documented_examples.py."""

QUICK_AND_LONG = """
# Good: Quick operation
def send_email(email: str):
    # Takes 1-2 seconds
    pass

# Bad: Long operation
def process_video(video_path: str):
    # Takes 5 minutes - use Celery instead
    pass
"""

SAFE = """
def safe_background_task(data: str):
    try:
        # Your logic
        pass
    except Exception as e:
        logger.error(f"Task failed: {e}")
        # Handle appropriately
"""

GLOBAL_STATE = """
# Bad: Don't rely on global state
current_user = None

def background_task():
    # current_user might be None or changed
    process(current_user)
"""

EXPLICIT = """
# Good: Pass data explicitly
def background_task(user_id: int):
    process(user_id)
"""

FRAGILE = """
async def create_user(
    background_tasks: BackgroundTasks,
    session: AsyncSession = Depends(get_session),
) -> dict[str, str]:
    user = UserRecord(email="neo@example.com")
    session.add(user)
    await session.commit()

    background_tasks.add_task(send_welcome_email, session, user.id)
    return {"status": "ok"}
"""

SAFER = """
async def create_user(
    background_tasks: BackgroundTasks,
) -> dict[str, str]:
    user_id = 1
    background_tasks.add_task(send_welcome_email, user_id)
    return {"status": "ok"}
"""

SAFER_TASK = """
async def send_welcome_email(user_id: int) -> None:
    async with AsyncSessionFactory() as session:
        user = await session.get(UserRecord, user_id)
        ...
"""

WEBHOOK = """
from fastapi import FastAPI, BackgroundTasks, Header, HTTPException, status, Response, Request
from pydantic import BaseModel, AnyUrl
import asyncio
import time
import uuid

app = FastAPI()

# In-memory stores for demo purposes only
JOBS: dict[str, dict] = {}
PROCESSED_IDEMPOTENCY_KEYS: set[str] = set()

class WebhookRequest(BaseModel):
    target_url: AnyUrl
    payload: dict


async def deliver_webhook(job_id: str, target_url: str, payload: dict) -> None:
    JOBS[job_id]["status"] = "running"
    JOBS[job_id]["started_at"] = time.time()

    try:
        # Simulate I/O latency (replace with an actual async HTTP call)
        await asyncio.sleep(2)

        # Example: pretend the webhook succeeded
        JOBS[job_id]["status"] = "succeeded"
        JOBS[job_id]["finished_at"] = time.time()
        JOBS[job_id]["result"] = {"delivered_to": target_url}

    except Exception as exc:
        # Record failure for later inspection/retry
        JOBS[job_id]["status"] = "failed"
        JOBS[job_id]["finished_at"] = time.time()
        JOBS[job_id]["error"] = str(exc)


@app.post("/webhooks/deliver", status_code=status.HTTP_202_ACCEPTED)
async def schedule_webhook(
    body: WebhookRequest,
    background_tasks: BackgroundTasks,
    idempotency_key: str | None = Header(default=None, convert_underscores=False),
):
    # Basic idempotency: if the same key is reused, reject or return the existing job.
    # For a real system, store key->job_id in a persistent store with TTL.
    if idempotency_key:
        if idempotency_key in PROCESSED_IDEMPOTENCY_KEYS:
            raise HTTPException(
                status_code=status.HTTP_409_CONFLICT,
                detail="Duplicate Idempotency-Key",
            )
        PROCESSED_IDEMPOTENCY_KEYS.add(idempotency_key)

    job_id = str(uuid.uuid4())
    JOBS[job_id] = {
        "status": "queued",
        "created_at": time.time(),
        "target_url": str(body.target_url),
    }

    background_tasks.add_task(deliver_webhook, job_id, str(body.target_url), body.payload)

    return {"job_id": job_id, "status": "queued"}


@app.get("/webhooks/jobs/{job_id}")
async def get_job(job_id: str):
    job = JOBS.get(job_id)
    if not job:
        raise HTTPException(status_code=404, detail="Job not found")
    return {"job_id": job_id, **job}
"""

WEBHOOK_REQUESTS = r"""
# Schedule
curl -X POST http://127.0.0.1:8000/webhooks/deliver \
  -H "Content-Type: application/json" \
  -H "Idempotency-Key: 7c0d2d2a-2f1b-4d3a-9b7f-1f2a4a1b9c01" \
  -d '{"target_url":"https://example.com/webhook","payload":{"order_id":123}}'

# Immediately check status
curl http://127.0.0.1:8000/webhooks/jobs/<job_id>
"""
