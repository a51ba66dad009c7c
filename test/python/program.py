"""What a backend in Python does with Spendlock: a conversation, a task, a paid call of its own, and a denial."""

import base64
import os
from typing import TypeVar
from uuid import UUID, uuid4

import httpx

from spendlock_api import AuthenticatedClient
from spendlock_api.api.conversations import (
    close_conversation,
    follow_conversation,
    list_messages,
    send_message,
    start_conversation,
)
from spendlock_api.api.reservations import commit_reservation, reserve
from spendlock_api.api.runs import get_run, list_run_messages, start_run
from spendlock_api.models import (
    CloseConversationBody,
    CommitReservationBody,
    Denial,
    Error,
    ReserveBody,
    ReserveBodyOnExpiry,
    SendMessageBody,
    StartConversationBody,
    StartConversationBodyLimits,
    StartRunBody,
    StartRunBodyFile,
    TextBlock,
)
from spendlock_api.types import UNSET

Answer = TypeVar("Answer")


def checked(answer: Answer | Denial | Error | None) -> Answer:
    """The answer. A refusal ends the program: each says what happened, and what its reader can do."""
    if isinstance(answer, Denial | Error):
        raise SystemExit(f"{answer.error}: {answer.message} {answer.action}")
    assert answer is not None
    return answer


spendlock = AuthenticatedClient(
    base_url=os.environ.get("SPENDLOCK_API_URL", "http://127.0.0.1:8088"),
    token=os.environ["SPENDLOCK_API_KEY"],
    timeout=httpx.Timeout(60),
)

# A conversation: each message is a turn, which is followed to its end.
limits = StartConversationBodyLimits(max_cost_usd="0.50")
opened = checked(start_conversation.sync(client=spendlock, body=StartConversationBody(user_id="ada", limits=limits)))
conversation = opened.conversation_id
sent = checked(send_message.sync(conversation, client=spendlock, body=SendMessageBody(message="What can you do?")))
checked(follow_conversation.sync(conversation, client=spendlock, turn_id=UUID(sent.turn_id)))
said = checked(list_messages.sync(conversation, client=spendlock))
for block in said.messages[-1].content:
    if isinstance(block, TextBlock):
        print(block.text)
checked(close_conversation.sync(conversation, client=spendlock, body=CloseConversationBody()))

# A task: it runs to its answer. What happens is read as it happens, through the client of httpx that is underneath.
content = base64.b64encode(b"region,amount\nnorth,3\nsouth,4\n").decode()
task = StartRunBody(task="Profile this file.", file=StartRunBodyFile(name="sales.csv", content_base_64=content))
started = checked(start_run.sync(client=spendlock, body=task))
with spendlock.get_httpx_client().stream("GET", f"/v1/runs/{started.run_id}/events") as events:
    for line in events.raise_for_status().iter_lines():
        if line == "event: done":
            print("The task is done.")
print(checked(get_run.sync(started.run_id, client=spendlock)).answer)

# A list, page by page: each names the cursor of the next, and the last has none.
cursor, pages = UNSET, 0
while cursor is not None:
    page = checked(list_run_messages.sync(started.run_id, client=spendlock, limit=2, cursor=cursor))
    for message in page.messages:
        print(f"{message.role}: {', '.join(block.type_ for block in message.content)}")
    cursor, pages = page.next_cursor, pages + 1
print(f"Its transcript has {pages} pages.")

# A paid call of your own: reserved first, committed at what it cost. Should the program end in between, nobody knows
# what the call came to, and what was granted is charged.
asked = ReserveBody(
    operation_id=uuid4(),
    resource="llm",
    amount_usd="0.05",
    on_expiry=ReserveBodyOnExpiry.SETTLE,
)
granted = checked(reserve.sync(client=spendlock, body=asked))
answer = f"an answer that may cost ${granted.granted_usd}"
cost = CommitReservationBody(cost_usd="0.002")
checked(commit_reservation.sync(asked.operation_id, client=spendlock, body=cost))
print(f"It was {len(answer)} characters long.")

# A denial is a model like every other answer.
asked = ReserveBody(operation_id=uuid4(), resource="llm", amount_usd="1000")
denied = reserve.sync(client=spendlock, body=asked)
if isinstance(denied, Denial) and denied.quota:
    quota = denied.quota
    when = f"try again in {denied.retry_after:.0f} s" if denied.retry_after else "waiting does not help"
    print(f"Denied by the {quota.scope} quota: ${quota.remaining_usd} left of ${quota.limit_usd}; {when}.")
