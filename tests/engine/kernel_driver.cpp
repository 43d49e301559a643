// Runs kernels on inputs from a file, for processors that this machine emulates.
//
//   kernel_driver INPUT OUTPUT
//
// Both files are sequences of arrays; an input array follows its size in bytes (int64). The first
// array of a case has its name and sizes, int64 each.

#include <cstdio>

#include "sample.cpp"
#include "step.cpp"

static FILE *input, *output;

// The next array, or null if it is empty.
static void* next() {
  int64_t size = 0;
  if (fread(&size, sizeof(size), 1, input) != 1 || !size) return nullptr;
  void* data = aligned_alloc(64, (size + 63) / 64 * 64);
  if (fread(data, 1, size, input) != (size_t)size) exit(1);
  return data;
}

static void run_product(const int64_t* sizes) {
  const int64_t outputs = sizes[1], inputs = sizes[2], rows = sizes[3];
  const void* parts[8];
  for (auto& part : parts) part = next();
  Linear linear;
  memcpy((void*)&linear, parts, sizeof(parts));
  linear.outputs = outputs;
  linear.inputs = inputs;
  std::vector<float> y(rows * outputs);
  archon_product(&linear, (const float*)next(), rows, y.data(), 1);
  fwrite(y.data(), sizeof(float), y.size(), output);
}

static void run_attention(const int64_t* sizes) {
  Model model = {};
  Step step = {};
  model.heads = sizes[1], model.kv_heads = sizes[2], model.head_width = sizes[3];
  const Layer layer = {};
  const int64_t group_size = 1;
  model.layers = &layer, model.group_sizes = &group_size;
  model.num_groups = model.threads = 1;
  step.num_tokens = sizes[4], step.num_blocks = sizes[5];
  double seconds[4] = {};
  step.seconds = seconds;
  step.position = (const int32_t*)next();
  const auto* tables = (const int32_t*)next();
  std::vector<const int32_t*> table;
  for (int64_t n = 0; n < step.num_tokens; n++) table.push_back(tables + n * sizes[6]);
  step.table = table.data();
  step.cache = (bf16*)next();
  std::vector<float> out(step.num_tokens * model.heads * model.head_width);
  archon_attention(&model, &step, (const float*)next(), out.data());
  fwrite(out.data(), sizeof(float), out.size(), output);
}

static void run_sample(const int64_t* sizes) {
  const int64_t count = sizes[1], size = sizes[2];
  const auto* logits = (const float*)next();
  const auto* rules = (const Rule*)next();
  const auto* noise = (const double*)next();
  std::vector<const float*> rows;
  for (int64_t n = 0; n < count; n++) rows.push_back(logits + n * size);
  std::vector<int64_t> tokens(count);
  archon_sample(rows.data(), size, count, rules, nullptr, noise, tokens.data(), 1);
  fwrite(tokens.data(), sizeof(int64_t), tokens.size(), output);
}

int main(int, char** paths) {
  input = fopen(paths[1], "rb");
  output = fopen(paths[2], "wb");
  if (!input || !output) return 1;
  while (const auto* sizes = (const int64_t*)next()) {
    if (sizes[0] == 0) run_product(sizes);
    if (sizes[0] == 1) run_attention(sizes);
    if (sizes[0] == 2) run_sample(sizes);
  }
  return fclose(output);
}
