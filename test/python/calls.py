"""What an agent asks for beside chats, by the providers' own SDKs: Responses, Embeddings, and counts, which cost nothing."""

import json
import os

import anthropic
import openai
from google import genai

proxy = os.environ["SPENDLOCK_API_URL"] + "/proxy"
key = os.environ["SPENDLOCK_API_KEY"]
by_openai = openai.OpenAI(base_url=proxy + "/openai/v1", api_key=key)
by_anthropic = anthropic.Anthropic(base_url=proxy + "/anthropic", api_key=key)
by_google = genai.Client(api_key=key, http_options={"base_url": proxy + "/google"})

asked = {"model": "gpt-5-mini", "max_output_tokens": 100, "input": "Hello"}
whole = by_openai.responses.create(**asked)
events = [event.type for event in by_openai.responses.create(**asked, stream=True)]
vectors = by_openai.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
counts = [
    by_openai.responses.input_tokens.count(model="gpt-5-mini", input="Hello").input_tokens,
    by_anthropic.messages.count_tokens(
        model="claude-haiku-4-5", messages=[{"role": "user", "content": "Hello"}]
    ).input_tokens,
    by_google.models.count_tokens(model="gemini-2.5-flash", contents="Hello").total_tokens,
]
print(
    json.dumps(
        {
            "text": whole.output_text,
            "last": events[-1],
            "vectors": [len(one.embedding) for one in vectors.data],
            "counted": [count > 0 for count in counts],
        }
    )
)
