# begin configuration
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model="self-consistency",
    api_base="http://127.0.0.1:8000/v1",
    api_key="none",
    is_chat_model=True,
    max_tokens=100,
    temperature=0.7,
)
# end configuration

messages = [ChatMessage(role="user", content="What is 17 * 23?")]
assert llm.chat(messages).message.content
print("done: chat")

assert "".join(part.delta or "" for part in llm.stream_chat(messages))
print("done: stream")

assert llm.complete("What is 17 * 23?").text
print("done: complete")
