cat > rows.jsonl <<'JSON'
{"question": "What is 2 + 3?", "answer": "5", "options": ["five", "six"], "gold": 0}
{"question": "What is 4 + 4?", "answer": "8", "options": ["nine", "eight"], "gold": 1}
JSON
mkdir -p tasks
cat > tasks/sums.yaml <<'YAML'
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\n\n\n"], max_gen_toks: 100}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
YAML
cat > tasks/options.yaml <<'YAML'
task: options
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}} It is"
doc_to_choice: "{{options}}"
doc_to_target: "{{gold}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
YAML
export HF_DATASETS_OFFLINE=1 HF_HUB_OFFLINE=1 OPENAI_API_KEY=none
# begin configuration
lm_eval --model local-chat-completions --apply_chat_template --include_path tasks --tasks sums \
  --model_args model=self-consistency,base_url=http://127.0.0.1:8000/v1/chat/completions \
  --gen_kwargs do_sample=True,temperature=0.7
# end configuration
echo "done: chat"
# begin configuration
lm_eval --model local-completions --include_path tasks --tasks sums \
  --model_args model=smollm2-135m,base_url=http://127.0.0.1:8000/v1/completions,tokenizer=./tokenizer
# end configuration
echo "done: generation"
lm_eval --model local-completions --include_path tasks --tasks options \
  --model_args model=smollm2-135m,base_url=http://127.0.0.1:8000/v1/completions,tokenizer=./tokenizer
echo "done: log-likelihoods"
