# begin configuration
from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="self-consistency", base_url="http://127.0.0.1:8000/v1", api_key="none", max_tokens=100
)
# end configuration

answer = model.invoke("What is 17 * 23?")
assert answer.content
assert answer.usage_metadata["output_tokens"]
print("done: chat")

assert "".join(chunk.content for chunk in model.stream("What is 17 * 23?"))
print("done: stream")

assert len(model.batch(["What is 1 + 1?", "What is 2 + 2?"])) == 2
print("done: batch")
