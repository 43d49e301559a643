# begin configuration
import litellm

options = {
    "model": "openai/self-consistency",
    "api_base": "http://127.0.0.1:8000/v1",
    "api_key": "none",
}
# end configuration

MESSAGES = [{"role": "user", "content": "What is 17 * 23?"}]

answer = litellm.completion(**options, messages=MESSAGES, max_tokens=100, temperature=0.7)
assert answer.choices[0].message.content
assert answer.usage.completion_tokens
print("done: chat")

chunks = litellm.completion(**options, messages=MESSAGES, stream=True)
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
print("done: stream")

reason = ""
try:
    litellm.completion(**options, messages=MESSAGES, temperature=9)
except litellm.BadRequestError as error:
    reason = str(error)
assert "temperature" in reason
print("done: errors")
