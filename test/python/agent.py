"""A step of an agent that may be killed at any moment: it finds a place with a paid API, and does not pay twice."""

import os
import sys
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import httpx

from paid import NotBilled, Refused, paid, spendlock


def geocode(address: str) -> tuple[str, Decimal]:
    """Where it is, and what that cost."""
    try:
        answer = httpx.get(os.environ["GEOCODER_URL"], params={"address": address}, timeout=60)
    except httpx.ConnectError as error:
        raise NotBilled(f"it cannot be reached: {error}") from error
    if answer.status_code in (400, 429):
        raise NotBilled(answer.text)
    return answer.raise_for_status().json()["place"], Decimal("0.004")


# The operation id is kept before any money is asked for; a row of a database does as well.
journal = Path("step.txt")
if not journal.exists():
    journal.write_text(str(uuid4()))
operation = UUID(journal.read_text())

try:
    place = paid(operation, Decimal("0.01"), lambda: geocode(sys.argv[1]), kind="geocode", userId="ada")
except NotBilled as reason:
    journal.unlink()
    sys.exit(f"The geocoder found nothing: {reason}")
except Refused as refused:
    stands = spendlock.get(f"/v1/reservations/{operation}")
    if stands.status_code != 404 and stands.raise_for_status().json()["claimed"]:
        sys.exit(f"{refused} This program was here before: ask the geocoder about {operation}, then remove {journal}.")
    # No call was made. What was decided under this operation id stands, so the next attempt has another.
    journal.unlink()
    sys.exit(f"{refused} Try again in {refused.retry_after:.0f} s." if refused.retry_after else str(refused))
Path("place.txt").write_text(place)
journal.unlink()
print(place)
