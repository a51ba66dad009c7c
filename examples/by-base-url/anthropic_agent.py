"""An agent by Anthropic's own SDK: what makes its calls budgeted is the base URL and the key."""

import os
import sys

import anthropic

client = anthropic.Anthropic(
    base_url=os.environ["SPENDLOCK_API_URL"] + "/proxy/anthropic",
    api_key=os.environ["SPENDLOCK_API_KEY"],
    default_headers={"x-spendlock-labels": "feature=summary"},
)

try:
    for question in sys.argv[1:]:
        with client.messages.stream(
            model="claude-haiku-4-5",
            max_tokens=500,  # What is reserved before the call follows from it.
            messages=[{"role": "user", "content": question}],
        ) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)
        print()
except anthropic.RateLimitError as error:
    sys.exit(f"There is no money for it: {error.message}")
