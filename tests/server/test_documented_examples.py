"""The examples of the documentation that is this server's specification, with nothing changed but the import."""

from __future__ import annotations

import json

from harness.rows import Gauge

from .conftest import Serve
from .helpers import AppServer, until

BASIC = """
from fastrapi import FastrAPI, BackgroundTasks

app = FastrAPI()

def send_email(email: str, message: str):
    print(f"Sending email to {email}: {message}")
    # Email sending logic here

@app.post("/send")
def send_notification(email: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(send_email, email, "Welcome to our service!")
    return {"message": "Email will be sent in the background"}

if __name__ == "__main__":
    app.serve("127.0.0.1", 8080)
"""

ARGUMENTS = """
from fastrapi import FastrAPI, BackgroundTasks
import time

app = FastrAPI()

def process_data(item_id: int, priority: str):
    print(f"Processing item {item_id} with priority {priority}")
    time.sleep(2)  # Simulate processing
    print(f"Finished processing item {item_id}")

@app.post("/process/{item_id}")
def process_item(item_id: int, background_tasks: BackgroundTasks):
    background_tasks.add_task(process_data, item_id, "high")
    return {"status": "accepted", "item_id": item_id}
"""

MULTIPLE = """
from fastrapi import FastrAPI, BackgroundTasks

app = FastrAPI()

def log_activity(user_id: int, action: str):
    print(f"User {user_id} performed: {action}")

def update_analytics(action: str):
    print(f"Analytics updated for action: {action}")

def send_notification(user_id: int):
    print(f"Notification sent to user {user_id}")

@app.post("/action")
def perform_action(user_id: int, action: str, background_tasks: BackgroundTasks):
    # Add multiple background tasks
    background_tasks.add_task(log_activity, user_id, action)
    background_tasks.add_task(update_analytics, action)
    background_tasks.add_task(send_notification, user_id)

    return {"status": "success", "action": action}
"""

EMAIL = """
from fastrapi import FastrAPI, BackgroundTasks
from pydantic import BaseModel, EmailStr

app = FastrAPI()

class User(BaseModel):
    email: EmailStr
    name: str

def send_welcome_email(email: str, name: str):
    # Simulate email sending
    print(f"Sending welcome email to {email}")
    # import smtplib
    # ... actual email logic

@app.post("/register")
def register_user(user: User, background_tasks: BackgroundTasks):
    # Register user in database (fast operation)
    # ...

    # Send welcome email in background (slow operation)
    background_tasks.add_task(send_welcome_email, user.email, user.name)

    return {"message": f"User {user.name} registered successfully"}
"""

FILES = """
from fastrapi import FastrAPI, BackgroundTasks
import time

app = FastrAPI()

def process_uploaded_file(filename: str):
    print(f"Starting to process {filename}")
    time.sleep(5)  # Simulate heavy processing
    print(f"Finished processing {filename}")

@app.post("/upload")
def upload_file(filename: str, background_tasks: BackgroundTasks):
    # Save file (fast)
    # ...

    # Process in background (slow)
    background_tasks.add_task(process_uploaded_file, filename)

    return {
        "status": "accepted",
        "message": "File uploaded and processing started"
    }
"""

CACHE = """
from fastrapi import FastrAPI, BackgroundTasks

app = FastrAPI()
cache = {}

def warm_cache(user_id: int):
    print(f"Warming cache for user {user_id}")
    # Fetch and cache user data
    cache[user_id] = {"name": "John", "preferences": {...}}

@app.post("/users/{user_id}/settings")
def update_settings(user_id: int, settings: dict, background_tasks: BackgroundTasks):
    # Update settings in database
    # ...

    # Refresh cache in background
    background_tasks.add_task(warm_cache, user_id)

    return {"message": "Settings updated"}
"""

ANALYTICS = """
from fastrapi import FastrAPI, BackgroundTasks
from datetime import datetime

app = FastrAPI()

def log_to_database(user_id: int, endpoint: str, timestamp: datetime):
    print(f"Logging: User {user_id} accessed {endpoint} at {timestamp}")
    # Write to database or logging service

@app.get("/api/data")
def get_data(user_id: int, background_tasks: BackgroundTasks):
    # Log the access in background
    background_tasks.add_task(
        log_to_database,
        user_id,
        "/api/data",
        datetime.now()
    )

    return {"data": [1, 2, 3, 4, 5]}
"""

ERRORS = """
from fastrapi import FastrAPI, BackgroundTasks
import logging

app = FastrAPI()
logger = logging.getLogger(__name__)

def risky_operation(data: str):
    try:
        # Perform operation that might fail
        if not data:
            raise ValueError("Data cannot be empty")

        # Process data
        print(f"Processing: {data}")

    except Exception as e:
        logger.error(f"Background task failed: {e}")
        # Handle error: retry, save to dead letter queue, etc.

@app.post("/task")
def create_task(data: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(risky_operation, data)
    return {"status": "accepted"}
"""


def start(serve: Serve, example: str, *options: str) -> AppServer:
    changed = example.replace("from fastrapi import", "from server import")
    assert changed != example
    return serve(changed, *options)


def test_basic_usage(serve: Serve):
    """The client is answered; the mail is printed afterwards."""
    server = start(serve, BASIC)
    answer = server.ask("POST", "/send?email=ann@example.org")
    assert (answer.status, answer.json()) == (200, {"message": "Email will be sent in the background"})
    (task,) = server.wait_ended(1)
    assert server.stdout() == "Sending email to ann@example.org: Welcome to our service!\n"
    assert task.flushed <= task.started
    assert server.ask("POST", "/send").status == 422


def test_adding_tasks_with_arguments(serve: Serve):
    """The answer does not wait for the two seconds; a stop does."""
    server = start(serve, ARGUMENTS)
    answer = server.ask("POST", "/process/17")
    assert (answer.status, answer.json()) == (200, {"status": "accepted", "item_id": 17})
    until(lambda: server.stdout() == "Processing item 17 with priority high\n", "it is being processed")
    assert server.gauge(Gauge.FINISHED) == 0
    assert server.stop() == 0
    assert server.stdout() == "Processing item 17 with priority high\nFinished processing item 17\n"


def test_multiple_background_tasks(serve: Serve):
    """They run in the order in which they were added."""
    server = start(serve, MULTIPLE)
    answer = server.ask("POST", "/action?user_id=5&action=log%20in")
    assert (answer.status, answer.json()) == (200, {"status": "success", "action": "log in"})
    tasks = server.wait_ended(3)
    assert server.stdout().splitlines() == [
        "User 5 performed: log in",
        "Analytics updated for action: log in",
        "Notification sent to user 5",
    ]
    assert [task.name for task in tasks] == ["log_activity", "update_analytics", "send_notification"]


def test_email_notifications(serve: Serve):
    """A valid user is registered and welcomed; an address that is none is refused with 422 and no mail."""
    server = start(serve, EMAIL)
    answer = server.ask(
        "POST", "/register", json.dumps({"email": "ann@example.org", "name": "Änn"}).encode(), content_type="application/json"
    )
    assert (answer.status, answer.json()) == (200, {"message": "User Änn registered successfully"})
    refused = server.ask("POST", "/register", b'{"email": "nonsense", "name": "x"}', content_type="application/json")
    assert (refused.status, refused.json()["detail"][0]["loc"]) == (422, ["body", "email"])
    server.wait_ended(1)
    assert server.stdout() == "Sending welcome email to ann@example.org\n"
    assert len(server.tasks()) == 1


def test_file_processing(serve: Serve):
    """Accepted at once; the five seconds of work are abandoned here by a short drain, and named."""
    server = start(serve, FILES, "--drain", "0.1")
    answer = server.ask("POST", "/upload?filename=report.pdf")
    assert (answer.status, answer.json()) == (200, {"status": "accepted", "message": "File uploaded and processing started"})
    until(lambda: server.stdout() == "Starting to process report.pdf\n", "it is being processed")
    assert server.stop() == 3
    assert "process_uploaded_file x1" in server.stderr()


def test_cache_warming(serve: Serve):
    """A path parameter and a bare dict as the body; Ellipsis in the cache harms nobody."""
    server = start(serve, CACHE)
    answer = server.ask(
        "POST", "/users/9/settings", b'{"theme": "dark", "nested": {"a": [1, null]}}', content_type="application/json"
    )
    assert (answer.status, answer.json()) == (200, {"message": "Settings updated"})
    (task,) = server.wait_ended(1)
    assert task.finished
    assert server.stdout() == "Warming cache for user 9\n"
    assert server.ask("POST", "/users/9/settings", b"[1]", content_type="application/json").status == 422
    assert server.ask("POST", "/users/nine/settings", b"{}", content_type="application/json").status == 422


def test_logging_and_analytics(serve: Serve):
    """Data is answered, the access is logged with its time."""
    server = start(serve, ANALYTICS)
    answer = server.ask("GET", "/api/data?user_id=3")
    assert (answer.status, answer.body) == (200, b'{"data":[1,2,3,4,5]}')
    server.wait_ended(1)
    assert server.stdout().startswith("Logging: User 3 accessed /api/data at 20")


def test_error_handling(serve: Serve):
    """What a task handles itself is logged by the app's own logger and counts as finished."""
    server = start(serve, ERRORS)
    assert server.ask("POST", "/task?data=something").json() == {"status": "accepted"}
    assert server.ask("POST", "/task?data=").json() == {"status": "accepted"}
    tasks = server.wait_ended(2)
    assert all(task.finished for task in tasks)
    assert server.stdout() == "Processing: something\n"
    assert "Background task failed: Data cannot be empty" in server.stderr()
