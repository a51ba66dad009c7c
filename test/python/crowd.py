"""Forty calls of three cents, by ten threads at once."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

from paid import Refused, paid


def one(number: int) -> str:
    """What became of one."""
    try:
        return paid(uuid4(), Decimal("0.03"), lambda: ("made", Decimal("0.03")), userId=f"user{number % 4}")
    except Refused as refused:
        return refused.error


with ThreadPoolExecutor(10) as threads:
    answers = list(threads.map(one, range(40)))
print(answers.count("made"), answers.count("quota_exceeded"))
