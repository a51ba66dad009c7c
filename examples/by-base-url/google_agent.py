"""An agent by Google's own SDK: what makes its calls budgeted is the base URL and the key."""

import os
import sys

from google import genai
from google.genai import errors, types

client = genai.Client(
    api_key=os.environ["SPENDLOCK_API_KEY"],
    http_options=types.HttpOptions(
        base_url=os.environ["SPENDLOCK_API_URL"] + "/proxy/google",
        headers={"x-spendlock-labels": "feature=summary"},
    ),
)

try:
    for question in sys.argv[1:]:
        stream = client.models.generate_content_stream(
            model="gemini-2.5-flash",
            contents=question,
            # What is reserved before the call follows from it.
            config=types.GenerateContentConfig(max_output_tokens=500),
        )
        for chunk in stream:
            print(chunk.text or "", end="", flush=True)
        print()
except errors.ClientError as error:
    if error.code != 429:
        raise
    sys.exit(f"There is no money for it: {error.message}")
