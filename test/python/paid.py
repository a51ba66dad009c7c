"""A paid call under a budget, with httpx alone: reserved, claimed, made, and committed at what it cost."""

import os
import time
from collections.abc import Callable
from decimal import ROUND_UP, Decimal
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx

Answer = TypeVar("Answer")

# It may be shared by threads.
spendlock = httpx.Client(
    base_url=os.environ.get("SPENDLOCK_API_URL", "http://127.0.0.1:8088"),
    headers={"Authorization": f"Bearer {os.environ['SPENDLOCK_API_KEY']}"},
    timeout=60,
)


class Refused(Exception):
    """What the API refuses: `error` is its code. `retry_after` are seconds, or None where waiting does not help."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(f"{body['error']}: {body['message']} {body['action']}")
        self.error: str = body["error"]
        self.retry_after: float | None = body.get("retryAfter")


class NotBilled(Exception):
    """What a call raises whose provider surely billed nothing."""


def usd(amount: Decimal) -> str:
    """An amount as the API takes it: written out, where str() may say 1E-7, and rounded up to its twelve decimals."""
    return f"{amount.quantize(Decimal('1e-12'), ROUND_UP):f}"


def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Sends it, and again where no answer came: what comes under the same key twice is done once."""
    key = {"Idempotency-Key": str(uuid4())}
    for seconds in (1, 2, 4, 8, None):
        try:
            answer = spendlock.post(path, json=body, headers=key)
            break
        except httpx.TransportError:
            if seconds is None:
                raise
            time.sleep(seconds)
    if answer.is_error:
        raise Refused(answer.json())
    return answer.json()


def paid(operation: UUID, most_usd: Decimal, call: Callable[[], tuple[Answer, Decimal]], **what: Any) -> Answer:
    """Makes a call, which gives its answer and its cost, once what it can cost at most is granted.

    Whatever it raises but NotBilled leaves open what was billed: when the grant runs out, all of it is charged.
    """
    asked = {"operationId": str(operation), "resource": "llm", "amountUsd": usd(most_usd), **what}
    post("/v1/reservations", asked)
    # This succeeds once: of all who ask under this operation id, now or after a crash, one makes the call.
    token = post(f"/v1/reservations/{operation}/claim", {})["claimToken"]
    try:
        answer, cost_usd = call()
    except NotBilled:
        post(f"/v1/reservations/{operation}/release", {"claimToken": token})
        raise
    post(f"/v1/reservations/{operation}/commit", {"claimToken": token, "costUsd": usd(cost_usd)})
    return answer
