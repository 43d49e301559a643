# begin configuration
mkdir -p "$LLM_USER_PATH"
cat > "$LLM_USER_PATH/extra-openai-models.yaml" <<'YAML'
- model_id: archon
  model_name: self-consistency
  api_base: http://127.0.0.1:8000/v1
YAML
# end configuration

export OPENAI_API_KEY=none
llm -m archon 'What is 17 * 23?' | grep answer > answer.txt
echo "done: stream"
llm -m archon --no-stream -o max_tokens 100 -o temperature 0.5 'What is 17 * 23?' | grep answer > answer.txt
echo "done: chat"
llm -m archon -c 'And 2 + 2?' | grep answer > answer.txt
echo "done: conversation"
