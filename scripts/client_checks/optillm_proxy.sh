PORT=$(python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
export OPENAI_API_KEY=none HF_HUB_OFFLINE=1
# begin configuration
optillm --base-url http://127.0.0.1:8000/v1 --model self-consistency --host 127.0.0.1 --port "$PORT" &
# end configuration
trap 'kill %1' EXIT
ask() {
  curl --silent --fail --retry 60 --retry-delay 1 --retry-all-errors \
    "http://127.0.0.1:$PORT/v1/chat/completions" --header 'Content-Type: application/json' --data \
    "{\"model\": \"$1\", \"messages\": [{\"role\": \"user\", \"content\": \"What is 17 * 23?\"}]}"
}
ask none-self-consistency | grep 'The answer is' > answer.txt
echo "done: proxy"
ask bon-scripted | grep 'content' > answer.txt
echo "done: best of n"
