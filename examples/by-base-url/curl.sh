#!/bin/sh
# A stream by curl alone: what makes it budgeted is the address and the key. It ends with 22 where there is no money, and says why.
exec curl --silent --show-error --no-buffer --fail-with-body "$SPENDLOCK_API_URL/proxy/anthropic/v1/messages" \
  --header "x-api-key: $SPENDLOCK_API_KEY" --header 'anthropic-version: 2023-06-01' --header 'content-type: application/json' \
  --header 'x-spendlock-labels: feature=summary' \
  --data '{"model": "claude-haiku-4-5", "max_tokens": 500, "stream": true, "messages": [{"role": "user", "content": "Say hello."}]}'
