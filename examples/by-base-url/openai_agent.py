"""An agent by OpenAI's own SDK: what makes its calls budgeted is the base URL and the key."""

import os
import sys

import openai

client = openai.OpenAI(
    base_url=os.environ["SPENDLOCK_API_URL"] + "/proxy/openai/v1",
    api_key=os.environ["SPENDLOCK_API_KEY"],
    default_headers={"x-spendlock-labels": "feature=summary"},
)

try:
    for question in sys.argv[1:]:
        stream = client.chat.completions.create(
            model="gpt-5-mini",
            max_completion_tokens=500,  # What is reserved before the call follows from it.
            messages=[{"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},  # Without it nobody would be told what it used.
        )
        for chunk in stream:
            for choice in chunk.choices:
                print(choice.delta.content or "", end="", flush=True)
        print()
except openai.RateLimitError as error:
    sys.exit(f"There is no money for it: {error.message}")
