// One step of a decoder in one call: all layers, for the tokens of many sequences.
//
// A step is one parallel region. Each phase below is distributed over its threads and ends in a
// barrier. Every phase computes each row separately, so a row's numbers do not depend on the other
// rows in the step.
//
//   normalize  → bytes     RMSNorm (Zhang & Sennrich 2019), rounded to int8
//   qkv product            queries, keys and values
//   rope       → cache     RoPE (Su et al. 2021); stores keys and values in their blocks
//   attention              see attention.h
//   output product, added to the residual stream
//   normalize  → bytes
//   gate and up product, SwiGLU or GeGLU (Shazeer 2020)
//   down product, added to the residual stream
//
// A sparse layer has a router and many such networks, its experts (Shazeer et al. 2017). Each row
// chooses a few experts. Rows are grouped by expert, so that a step reads the weights of an expert at
// most once. A row adds the outputs of its experts in the order of their scores, which depends on
// this row only.
//
// In a family without norms before its sublayers, a sublayer reads the residual stream as it is. In a
// family with norms after them, a sublayer's output is normalised before it is added to the stream.

#include <omp.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "attention.h"
#include "product.h"

// Parameters of a layer; a norm that the family does not have is null.
struct Layer {
  const float *attention_norm, *attention_post_norm, *ffn_norm, *ffn_post_norm, *q_norm, *k_norm;
  Linear qkv, output;
  Linear gate_up, down;  // of a sparse layer: of its shared network, without weights if it has none
  // Of a sparse layer, else null: (R, E), rows that give the scores of X experts and of the shared
  // network, then zeros up to a multiple of 16 rows.
  const float* router;
  // The products of all experts, one after another: (X · 2 · F, E) and (X · E, F).
  Linear experts_gate_up, experts_down;
  int64_t rope;    // number of its table of angles; -1 for a layer without RoPE
  int64_t window;  // most recent tokens that a token attends to, itself included; 0 for all
  // Where its keys and values are (`cache/layout.py`): the number of its block table, the block in an
  // entry of the table, and the row in the block.
  int64_t group, member, row;
};

// An adapter's change to a product, in float32: B·(A·x).
struct LowRank {
  const float* a;  // (rank, I); null for no change
  const float* b;  // (O / 32, rank, 32)
  int64_t rank;
};

struct AdaptedLayer {
  LowRank qkv, output, gate_up, down;
};

struct Adapter {
  const AdaptedLayer* layers;
  LowRank head;
};

struct Model {
  int64_t num_layers, width, ffn_width, heads, kv_heads, head_width, threads;
  int64_t num_groups;                // layer groups; each has a block table per token
  int64_t norms_projections;  // 1: q_norm and k_norm normalise projections; 0: each head
  int64_t rope_width;         // R: rotated channels of a head
  int64_t is_gelu;            // 1: the gate's activation is GELU in its tanh form; 0: SiLU
  int64_t num_experts, num_used, expert_width;  // X, U and F of sparse layers
  int64_t normalises_shares;  // 1: the shares of a row's experts sum to 1
  float epsilon;
  float attention_scale;      // 0: 1 / √D
  float attention_softcap, logit_softcap;  // bounds of scores and logits; 0: none
  float embedding_scale, residual_scale, logit_scale;
  const bf16* embedding;
  const float* norm;
  const Layer* layers;
  const int64_t* group_sizes;  // blocks in an entry of each group's tables
  Linear head;
  Linear embedding_blocks;  // if `embedding` is null
  // Rotation of the inputs of sublayers and of the head (`outlier_rotation.py`), or null: signs of
  // the channels, and the (blocks, blocks) matrix that mixes the blocks of a Hadamard transform.
  const float *rotation_sign, *rotation_mix;
};

// Input and output of one step; `NativeDecoder` is the Python side.
struct Step {
  int64_t num_tokens, num_logits;
  const int32_t *token, *position;
  const int32_t* const* table;       // (groups, tokens): block tables
  const float *cosine, *sine;        // (tables, tokens, R / 2)
  const int64_t* logit_token;        // tokens that need logits
  bf16* cache;                       // (rows, G, blocks, keys and values, D · 16)
  int64_t num_blocks;
  float* logits;                     // (rows, padded V)
  double* seconds;                   // by phase: products, attention, head, rest
  const Adapter* const* adapter;     // each token's adapter or null; null if no token has one
  int64_t max_rank;                  // of all adapters
  int64_t num_hidden;
  const int64_t* hidden_token;       // tokens that need hidden states
  float* const* hidden;              // target of each hidden state, E numbers
};

enum Phase { PRODUCTS, ATTENTION, HEAD, REST };

namespace {

// A unit of attention: `count` tokens from `token` on that all read blocks `first` to `last` - 1.
struct Segment {
  int32_t token, count;
  int64_t first, last;
  int valid;  // tokens in the last block
};

// An expert that some rows have chosen. These have the slots from `first` to `end` - 1; `first` is a
// multiple of a tile.
struct Expert {
  int64_t number, first, end;
};

// c · tanh(x / c).
inline Floats bounded(Floats x, float c) { return splat(c) * tanh_of(x * splat(1.0f / c)); }

constexpr int CHUNK = 16;  // tokens whose softmaxes are computed together

// Reusable memory that grows to the needs of the largest step.
struct Buffer {
  void* data = nullptr;
  size_t size = 0;

  ~Buffer() { free(data); }

  template <class T>
  T* get(size_t count) {
    const size_t wanted = (count * sizeof(T) + 63) / 64 * 64;
    if (wanted > size) {
      free(data);
      data = aligned_alloc(64, wanted);
      size = wanted;
    }
    return (T*)data;
  }
};

// Memory for quantized rows.
struct QuantizedRows {
  Buffer inputs, scales, sums, halves;

  // Rows of up to `size` inputs, in groups if the weight consists of blocks.
  Rows get(int64_t rows, int64_t size, const Linear& weight) {
    const int64_t padded = (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    const int64_t groups = padded * (size / GROUP_INPUTS);
    if (!weight.strip_format)
      return {inputs.get<Input>(padded * size), scales.get<float>(padded), {}};
    return {nullptr, nullptr, {inputs.get<int8_t>(padded * size), scales.get<float>(groups),
                               sums.get<float>(groups), halves.get<int16_t>(2 * groups)}};
  }
};

// Quantize row `n` of `size` floats as the product with a weight needs it.
void quantize_for(const Linear& weight, const float* x, int64_t size, int64_t n, Rows rows) {
  if (weight.strip_format) quantize_groups(x, size, n, rows.groups);
  else quantize_row(x, size, n, rows);
}

// The attention of one layer group.
struct AttentionPlan {
  std::vector<Segment> segments;
  std::vector<int32_t> chunks;  // index of each chunk's first segment
};

// Intermediate results of a step, and its plans of attention; reused by the next step.
struct Workspace {
  Buffer stream, qkv, queries, attended, hidden, low, added;
  QuantizedRows rows;
  std::vector<AttentionPlan> plans;
  Buffer normed, scores, shares, chosen, slot, expert_hidden;
  QuantizedRows slots;
  std::vector<Expert> experts;  // those that rows of the step have chosen
  std::vector<int64_t> next;    // next free slot of each expert
};

// The computation of one step.
class Run {
 public:
  Run(const Model& m, const Step& s, Workspace& w)
      : m(m), s(s), w(w), N(s.num_tokens), E(m.width), F(m.ffn_width), H(m.heads), G(m.kv_heads),
        D(m.head_width), X(m.num_experts), U(m.num_used),
        scores_per_row((X + LANES) / LANES * LANES), shares_per_row((U + LANES) / LANES * LANES),
        per_group(H / G), tiles_per_group((per_group + MAX_ROWS - 1) / MAX_ROWS),
        rows_per_tile((per_group + tiles_per_group - 1) / tiles_per_group) {
    const int64_t rows = std::max(N, s.num_logits);
    x = w.stream.get<float>(N * E);
    qkv = w.qkv.get<float>(N * (H + 2 * G) * D);
    q = w.queries.get<bf16>(N * H * D);
    attended = w.attended.get<float>(N * H * D);
    hidden = w.hidden.get<float>(N * F);
    rows_in = w.rows.get(rows, std::max({E, F, H * D}), m.head);
    low = w.low.get<float>(s.adapter ? rows * s.max_rank : 1);
    added = w.added.get<float>(m.layers && m.layers->attention_post_norm ? N * E : 1);
    if (X) reserve_slots();
    w.plans.resize(m.num_groups);
    for (int64_t group = 0; group < m.num_groups; group++) plan_segments(group);
  }

  // Compute only the attention of the first layer; queries and results are (tokens, H, D).
  void attention_of(const float* queries, float* out) {
    for (int64_t i = 0; i < N * H; i++) round_row(queries + i * D, q + i * D);
#pragma omp parallel num_threads(m.threads)
    attention(m.layers[0]);
    memcpy(out, attended, N * H * D * sizeof(float));
  }

  void all() {
#pragma omp parallel num_threads(m.threads)
    {
      embed();
      for (int64_t i = 0; i < m.num_layers; i++) layer(m.layers[i], i);
      head();
    }
  }

 private:
  void layer(const Layer& l, int64_t index) {
    const Change qkv{this, index, &AdaptedLayer::qkv}, output{this, index, &AdaptedLayer::output};
    const Change gate_up{this, index, &AdaptedLayer::gate_up};
    const Change down{this, index, &AdaptedLayer::down};
    read_stream(l.attention_norm, qkv);
    qkv_product(l.qkv, qkv);
    rope(l);
    attention(l);
    quantize(attended, H * D, output);
    add_product(l.output, l.attention_post_norm, output);
    read_stream(l.ffn_norm, gate_up, l.router);
    if (l.router) route(l);
    if (l.down.weight) {
      gated_product(l.gate_up, l.down.inputs, gate_up);
      quantize(hidden, l.down.inputs, down);
      add_product(l.down, l.ffn_post_norm, down, l.router ? shares + U : nullptr);
    }
    if (l.router) add_experts(l);
  }

  void reserve_slots() {
    const int64_t most = N * U + std::min(X, N * U) * (TILE_ROWS - 1);
    normed = w.normed.get<float>(N * E);
    scores = w.scores.get<float>(N * scores_per_row);
    shares = w.shares.get<float>(N * shares_per_row);
    chosen = w.chosen.get<int32_t>(N * U);
    slot = w.slot.get<int64_t>(N * U);
    expert_hidden = w.expert_hidden.get<float>(most * m.expert_width);
    slots_in = w.slots.get(most, std::max(E, m.expert_width), m.head);
  }

  // The change of a row's adapter, if it has one, to a product of a layer. Without `product` it is
  // the change to the head, whose rows are the tokens that need logits.
  struct Change {
    const Run* run;
    int64_t layer;
    LowRank AdaptedLayer::*product;

    const LowRank* of(int64_t n) const {
      const Step& s = run->s;
      if (!s.adapter) return nullptr;
      const Adapter* adapter = s.adapter[product ? n : s.logit_token[n]];
      if (!adapter) return nullptr;
      const LowRank& found = product ? adapter->layers[layer].*product : adapter->head;
      return found.a ? &found : nullptr;
    }

    // Compute A·x and store it until `add`; the order of the sums is fixed.
    void read(int64_t n, const float* x, int64_t size) const {
      const LowRank* found = of(n);
      if (!found) return;
      for (int64_t k = 0; k < found->rank; k++) {
        Floats sum = splat(0);
        for (int64_t i = 0; i < size; i += LANES)
          sum = fma(load(x + i), load(found->a + k * size + i), sum);
        run->low[n * run->s.max_rank + k] = sum_of(sum);
      }
    }

    // Add B·(A·x) to a panel's outputs.
    void add(int64_t n, int64_t panel, Floats& left, Floats& right) const {
      const LowRank* found = of(n);
      if (!found) return;
      const float* b = found->b + panel * found->rank * PANEL_OUTPUTS;
      for (int64_t k = 0; k < found->rank; k++, b += PANEL_OUTPUTS) {
        const Floats factor = splat(run->low[n * run->s.max_rank + k]);
        left = fma(factor, load(b), left);
        right = fma(factor, load(b + LANES), right);
      }
    }
  };

  // ------------------------------------------------------------------ phases

  void embed() {
#pragma omp master
    clock = std::chrono::steady_clock::now();
#pragma omp for schedule(static)
    for (int64_t n = 0; n < N; n++) {
      float* to = x + n * E;
      if (!m.embedding) {
        weight_row(m.embedding_blocks, s.token[n], to);
      } else {
        const bf16* from = m.embedding + (int64_t)s.token[n] * E;
        for (int64_t i = 0; i < E; i += LANES) store(to + i, load_bf16(from + i));
      }
      if (m.embedding_scale != 1) scale_row(to, E, m.embedding_scale);
    }
    lap(REST);
  }

  // x / √(mean(x²) + ε) · weight, rotated if the weights expect it, and rounded to bytes.
  // The floats remain in `normed` if `is_kept`.
  void normalize(const float* weight, const int64_t* rows, int64_t count, const Change& change,
                 bool is_kept = false) {
#pragma omp for schedule(static)
    for (int64_t n = 0; n < count; n++) {
      alignas(64) float memory[16384];
      float* to = is_kept ? normed + n * E : memory;
      const float* from = x + (rows ? rows[n] : n) * E;
      if (weight) rms_norm(from, weight, E, to);
      else memcpy(to, from, E * sizeof(float));
      if (m.rotation_sign) rotate(to);
      quantize_for(m.head, to, E, n, rows_in);
      change.read(n, to, E);
    }
    lap(REST);
  }

  // Input of a sublayer: the stream, normalised if the family has a norm here.
  void read_stream(const float* norm, const Change& change, bool is_kept = false) {
    if (norm || m.rotation_sign || is_kept) normalize(norm, nullptr, N, change, is_kept);
    else quantize(x, E, change);
  }

  void quantize(const float* from, int64_t size, const Change& change) {
#pragma omp for schedule(static)
    for (int64_t n = 0; n < N; n++) {
      quantize_for(m.head, from + n * size, size, n, rows_in);
      change.read(n, from + n * size, size);
    }
    lap(REST);
  }

  void qkv_product(const Linear& linear, const Change& change) {
    product(rows_in, N, linear, m.threads, qkv,
            [&](int64_t n, int64_t panel, Floats& left, Floats& right) {
              change.add(n, panel, left, right);
            });
    lap(PRODUCTS);
  }

  // Add a product to the stream; normalise and scale it first if the family does so here. Row n is
  // multiplied by `share` of index n · shares_per_row if that is not null.
  void add_product(const Linear& linear, const float* post_norm, const Change& change,
                   const float* share = nullptr) {
    if (post_norm) return add_normalized_product(linear, post_norm, change);
    each_panel(linear, N, m.threads, [&](int64_t panel, int64_t row, int64_t end) {
      panel_product(rows_in, row, end, linear, panel, [&](int64_t n, Floats left, Floats right) {
        change.add(n, panel, left, right);
        add_bias(linear, panel, left, right);
        const float scale = m.residual_scale * (share ? share[n * shares_per_row] : 1);
        if (scale != 1) {
          left = left * splat(scale);
          right = right * splat(scale);
        }
        float* to = x + n * E + panel * PANEL_OUTPUTS;
        store(to, load(to) + left);
        store(to + LANES, load(to + LANES) + right);
      });
    });
    lap(PRODUCTS);
  }

  void add_normalized_product(const Linear& linear, const float* norm, const Change& change) {
    product(rows_in, N, linear, m.threads, added,
            [&](int64_t n, int64_t panel, Floats& left, Floats& right) {
              change.add(n, panel, left, right);
            });
    lap(PRODUCTS);
#pragma omp for schedule(static)
    for (int64_t n = 0; n < N; n++) {
      float *row = added + n * E, *to = x + n * E;
      rms_norm(row, norm, E, row);
      if (m.residual_scale != 1) scale_row(row, E, m.residual_scale);
      for (int64_t i = 0; i < E; i += LANES) store(to + i, load(to + i) + load(row + i));
    }
    lap(REST);
  }

  // A panel has sixteen outputs of gate and the same sixteen of up.
  void gated_product(const Linear& linear, int64_t width, const Change& change) {
    each_panel(linear, N, m.threads, [&](int64_t panel, int64_t row, int64_t end) {
      panel_product(rows_in, row, end, linear, panel, [&](int64_t n, Floats gate, Floats up) {
        change.add(n, panel, gate, up);
        add_bias(linear, panel, gate, up);
        store(hidden + n * width + panel * LANES, activated(gate) * up);
      });
    });
    lap(PRODUCTS);
  }

  // Both activations are gate · sigmoid(z); GELU's tanh form has z = √(8/π)(x + 0.044715 x³).
  Floats activated(Floats gate) const {
    Floats z = gate;
    if (m.is_gelu) z = splat(1.59576912f) * fma(splat(0.044715f) * gate * gate, gate, gate);
    return gate / (splat(1) + exp_of(splat(0) - z));
  }

  // Choose the experts of each row, and their shares.
  void route(const Layer& l) {
    constexpr int TOGETHER = 8;  // experts whose sums hide the latency of the additions
#pragma omp for schedule(static)
    for (int64_t item = 0; item < scores_per_row / TOGETHER * N; item++) {
      const int64_t first = item / N * TOGETHER, n = item % N;
      Floats sums[TOGETHER];
      for (Floats& sum : sums) sum = splat(0);
      for (int64_t i = 0; i < E; i += LANES) {
        const Floats input = load(normed + n * E + i);
#pragma GCC unroll 8
        for (int k = 0; k < TOGETHER; k++)
          sums[k] = fma(input, load(l.router + (first + k) * E + i), sums[k]);
      }
      for (int k = 0; k < TOGETHER; k++)
        scores[n * scores_per_row + first + k] = sum_of(sums[k]);
    }
#pragma omp for schedule(static)
    for (int64_t n = 0; n < N; n++) choose(scores + n * scores_per_row, n);
    lap(REST);
  }

  // The U experts with the largest scores; of equal ones, the first. Their shares are a softmax over
  // all scores, divided by their sum if the model does so. The share of the shared network, the
  // sigmoid of its score, follows them.
  void choose(float* score, int64_t n) {
    float* share = shares + n * shares_per_row;
    const Floats shared = splat(score[X]);
    std::fill(score + X, score + scores_per_row, -1e30f);
    Floats tops = load(score), sums = splat(0);
    for (int64_t i = LANES; i < scores_per_row; i += LANES) tops = larger(tops, load(score + i));
    const Floats top = splat(max_of(tops));
    for (int64_t i = 0; i < scores_per_row; i += LANES) sums = sums + exp_of(load(score + i) - top);
    std::fill_n(share, shares_per_row, 0.0f);
    for (int64_t u = 0; u < U; u++) {
      const int64_t best = std::max_element(score, score + X) - score;
      chosen[n * U + u] = (int32_t)best;
      share[u] = score[best];
      score[best] = -1e30f;
    }
    const Floats total = splat(sum_of(sums));
    for (int64_t u = 0; u < shares_per_row; u += LANES)
      store(share + u, exp_of(load(share + u) - top) / total);
    float sum = 0;
    for (int64_t u = 0; u < U; u++) sum += share[u];
    if (m.normalises_shares)
      for (int64_t u = 0; u < U; u++) share[u] /= sum;
    alignas(64) float all[LANES];
    store(all, splat(1) / (splat(1) + exp_of(splat(0) - shared)));
    share[U] = all[0];
  }

  // Add the outputs of each row's experts, multiplied by their shares, to the stream.
  void add_experts(const Layer& l) {
    const int64_t width = m.expert_width;
#pragma omp single
    assign_slots();
#pragma omp for schedule(static)
    for (int64_t i = 0; i < N * U; i++)
      quantize_for(m.head, normed + i / U * E, E, slot[i], slots_in);
    lap(REST);
    const int64_t panels = width / LANES, items = (int64_t)w.experts.size() * panels;
    const int64_t per_task = std::max<int64_t>(1, items / (m.threads * 32));
#pragma omp for schedule(dynamic, per_task)
    for (int64_t item = 0; item < items; item++) {
      const Expert& e = w.experts[item / panels];
      const int64_t panel = item % panels;
      panel_product(slots_in, e.first, e.end, l.experts_gate_up, e.number * panels + panel,
                    [&](int64_t n, Floats gate, Floats up) {
                      float* to = expert_hidden + n * width + panel * LANES;
                      store(to, activated(gate) * up);
                    });
    }
    lap(PRODUCTS);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < N * U; i++)
      quantize_for(m.head, expert_hidden + slot[i] * width, width, slot[i], slots_in);
    lap(REST);
#pragma omp for schedule(dynamic, 1)
    for (int64_t panel = 0; panel < E / PANEL_OUTPUTS; panel++) add_experts_panel(l, panel);
    lap(PRODUCTS);
  }

  // Give each row a slot with each of its experts.
  void assign_slots() {
    w.next.assign(X, 0);
    w.experts.clear();
    for (int64_t i = 0; i < N * U; i++) w.next[chosen[i]]++;
    int64_t first = 0;
    for (int64_t number = 0; number < X; number++) {
      const int64_t count = w.next[number];
      w.next[number] = first;
      if (!count) continue;
      w.experts.push_back({number, first, first + count});
      first += (count + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    }
    for (int64_t i = 0; i < N * U; i++) slot[i] = w.next[chosen[i]]++;
  }

  // A panel of the products of all experts is small enough to stay in a cache until it is added.
  void add_experts_panel(const Layer& l, int64_t panel) {
    static thread_local Buffer memory;
    float* out = memory.get<float>(w.experts.back().end * PANEL_OUTPUTS);
    for (const Expert& e : w.experts)
      panel_product(slots_in, e.first, e.end, l.experts_down,
                    e.number * (E / PANEL_OUTPUTS) + panel,
                    [&](int64_t n, Floats left, Floats right) {
                      store(out + n * PANEL_OUTPUTS, left);
                      store(out + n * PANEL_OUTPUTS + LANES, right);
                    });
    for (int64_t n = 0; n < N; n++) {
      Floats left = splat(0), right = left;
      for (int64_t u = 0; u < U; u++) {
        const Floats share = splat(shares[n * shares_per_row + u]);
        const float* from = out + slot[n * U + u] * PANEL_OUTPUTS;
        left = left + share * load(from);
        right = right + share * load(from + LANES);
      }
      const Floats scale = splat(m.residual_scale);
      float* to = x + n * E + panel * PANEL_OUTPUTS;
      store(to, load(to) + scale * left);
      store(to + LANES, load(to + LANES) + scale * right);
    }
  }

  // Apply RoPE to queries and keys; store keys and values in the cache.
  void rope(const Layer& l) {
    const int64_t row = (H + 2 * G) * D;
    const float *q_norm = m.norms_projections ? nullptr : l.q_norm;  // of each head
    const float *k_norm = m.norms_projections ? nullptr : l.k_norm;
#pragma omp for schedule(static)
    for (int64_t n = 0; n < N; n++) {
      alignas(64) float turned[MAX_HEAD_WIDTH];
      alignas(64) bf16 rounded[MAX_HEAD_WIDTH];
      if (m.norms_projections) {
        float *queries = qkv + n * row, *keys = queries + H * D;
        rms_norm(queries, l.q_norm, H * D, queries);
        rms_norm(keys, l.k_norm, G * D, keys);
      }
      const float *from = qkv + n * row, *cosine = nullptr, *sine = nullptr;
      if (l.rope >= 0) {
        const int64_t angle = (l.rope * N + n) * (m.rope_width / 2);
        cosine = s.cosine + angle, sine = s.sine + angle;
      }
      for (int64_t h = 0; h < H; h++) {
        rope_head(from + h * D, q_norm, cosine, sine, turned);
        round_row(turned, q + (n * H + h) * D);
      }
      const int64_t entry = s.position[n] / BLOCK_TOKENS;
      const int64_t block = table(l.group, n)[entry * m.group_sizes[l.group] + l.member];
      const int64_t at = s.position[n] % BLOCK_TOKENS;
      for (int64_t g = 0; g < G; g++) {
        bf16* stored = head_cache(l.row, g) + block * block_size();
        rope_head(from + (H + g) * D, k_norm, cosine, sine, turned);
        round_row(turned, rounded);
        bf16* key = stored + 2 * at;
        for (int64_t d = 0; d < D; d += 2)
          memcpy(key + d * BLOCK_TOKENS, rounded + d, 2 * sizeof(bf16));
        round_row(from + (H + G + g) * D, rounded);
        bf16* value = stored + D * BLOCK_TOKENS + at / 2 * 2 * D + at % 2;
        for (int64_t d = 0; d < D; d++) value[2 * d] = rounded[d];
      }
    }
    lap(REST);
  }

  void attention(const Layer& l) {
    const int64_t chunks = (int64_t)w.plans[l.group].chunks.size() - 1;
    // Scores are powers of 2: log2(e) is part of their scale and of their bound.
    const float scale = m.attention_scale > 0 ? 1.44269504f * m.attention_scale
                                              : 1.44269504f / std::sqrt((float)D);
    const Scores scores{scale, 1.44269504f * m.attention_softcap};
#pragma omp for schedule(dynamic, 1)
    for (int64_t item = 0; item < G * chunks; item++) {
      const int64_t g = item / chunks, chunk = item % chunks;
      const bf16* keys = head_cache(l.row, g);
      const Blocks blocks{keys, keys + D * BLOCK_TOKENS, block_size(), nullptr,
                          m.group_sizes[l.group]};
      attend_chunk(l, chunk, g, blocks, scores);
    }
    lap(ATTENTION);
  }

  void head() {
    const Change change{this, 0, nullptr};
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < s.num_hidden; i++)
      rms_norm(x + s.hidden_token[i] * E, m.norm, E, s.hidden[i]);
    normalize(m.norm, s.logit_token, s.num_logits, change);
    const int64_t V = m.head.outputs;
    each_panel(m.head, s.num_logits, m.threads, [&](int64_t panel, int64_t row, int64_t end) {
      panel_product(rows_in, row, end, m.head, panel, [&](int64_t n, Floats left, Floats right) {
        change.add(n, panel, left, right);
        if (m.logit_scale != 1) {
          left = left * splat(m.logit_scale);
          right = right * splat(m.logit_scale);
        }
        if (m.logit_softcap > 0) {
          left = bounded(left, m.logit_softcap);
          right = bounded(right, m.logit_softcap);
        }
        float* to = s.logits + n * V + panel * PANEL_OUTPUTS;
        stream(to, left);  // would otherwise evict useful data from the caches
        stream(to + LANES, right);
      });
    });
    finish_streams();
    lap(HEAD);
  }

  // ------------------------------------------------------------------- parts

  static void rms_norm(const float* from, const float* weight, int64_t size, float* to, float epsilon) {
    Floats squares = splat(0);
    for (int64_t i = 0; i < size; i += LANES) {
      const Floats v = load(from + i);
      squares = fma(v, v, squares);
    }
    const float mean = sum_of(squares) / (float)size;
    const Floats factor = splat(1.0f / std::sqrt(mean + epsilon));
    for (int64_t i = 0; i < size; i += LANES)
      store(to + i, load(from + i) * factor * load(weight + i));
  }

  void rms_norm(const float* from, const float* weight, int64_t size, float* to) const {
    rms_norm(from, weight, size, to, m.epsilon);
  }

  // Rotate a row: signs, a Hadamard transform of each block, and a product that mixes the blocks.
  void rotate(float* row) const {
    alignas(64) float blocks[16384];
    const int64_t size = std::min<int64_t>(E & -E, 128), count = E / size;
    for (int64_t i = 0; i < E; i++) row[i] *= m.rotation_sign[i];
    for (int64_t half = 1; half < size; half *= 2)
      for (int64_t start = 0; start < E; start += 2 * half)
        for (int64_t i = start; i < start + half; i++) {
          const float a = row[i], b = row[i + half];
          row[i] = a + b;
          row[i + half] = a - b;
        }
    const float scale = 1.0f / std::sqrt((float)size);
    std::fill_n(blocks, E, 0.0f);
    for (int64_t to = 0; to < count; to++)
      for (int64_t from = 0; from < count; from++) {
        const float share = scale * m.rotation_mix[from * count + to];
        for (int64_t i = 0; i < size; i++) blocks[to * size + i] += share * row[from * size + i];
      }
    memcpy(row, blocks, E * sizeof(float));
  }

  static void scale_row(float* row, int64_t size, float scale) {
    for (int64_t i = 0; i < size; i += LANES) store(row + i, load(row + i) * splat(scale));
  }

  static void add_bias(const Linear& linear, int64_t panel, Floats& left, Floats& right) {
    if (!linear.bias) return;
    left = left + load(linear.bias + panel * PANEL_OUTPUTS);
    right = right + load(linear.bias + panel * PANEL_OUTPUTS + LANES);
  }

  int64_t block_size() const { return 2 * D * BLOCK_TOKENS; }

  bf16* head_cache(int64_t row, int64_t g) const {
    return s.cache + (row * G + g) * s.num_blocks * block_size();
  }

  // Block table of token `n` for a layer group.
  const int32_t* table(int64_t group, int64_t n) const { return s.table[group * N + n]; }

  // RoPE of one head: channels i and i + R/2 are a point in the plane, which is rotated. The channels
  // from R on, and all if there are no angles, stay as they are.
  void rope_head(const float* from, const float* norm, const float* cosine, const float* sine,
                 float* to) const {
    alignas(64) float normed[MAX_HEAD_WIDTH];
    if (norm) {
      rms_norm(from, norm, D, normed);
      from = normed;
    }
    if (!cosine) {
      memcpy(to, from, D * sizeof(float));
      return;
    }
    const int64_t half = m.rope_width / 2;
    memcpy(to + 2 * half, from + 2 * half, (D - 2 * half) * sizeof(float));
    for (int64_t i = 0; i < half; i++) {
      const float a = from[i], b = from[i + half];
      to[i] = a * cosine[i] - b * sine[i];
      to[i + half] = b * cosine[i] + a * sine[i];
    }
  }

  void round_row(const float* from, bf16* to) const {
    for (int64_t i = 0; i < D; i += LANES) store_bf16(to + i, load(from + i));
  }

  // Attention of one chunk's tokens for one key-value head.
  void attend_chunk(const Layer& l, int64_t chunk, int64_t g, Blocks blocks, Scores scores) {
    const AttentionPlan& plan = w.plans[l.group];
    static thread_local Buffer sums;
    static thread_local std::vector<Softmax> states;
    const int64_t first = chunk * CHUNK, count = std::min<int64_t>(CHUNK, N - first);
    const int64_t per_token = tiles_per_group * rows_per_tile * D;
    float* weighted = sums.get<float>(CHUNK * per_token);
    states.resize(CHUNK * tiles_per_group);
    std::fill_n(weighted, count * per_token, 0.0f);
    for (int64_t i = 0; i < count * tiles_per_group; i++) {
      states[i].weighted = weighted + i * rows_per_tile * D;
      std::fill_n(states[i].reference, MAX_ROWS, -1e30f);
      std::fill_n(states[i].sum, MAX_ROWS, splat(0));
    }
    for (int32_t i = plan.chunks[chunk]; i < plan.chunks[chunk + 1]; i++)
      attend_segment(l, plan.segments[i], first, g, blocks, scores, states.data());
    for (int64_t i = 0; i < count * tiles_per_group; i++) {
      const int64_t head = i % tiles_per_group * rows_per_tile;
      float* to = attended + ((first + i / tiles_per_group) * H + g * per_group + head) * D;
      const int rows = (int)std::min(rows_per_tile, per_group - head);
      for (int r = 0; r < rows; r++) {
        const Floats sum = splat(sum_of(states[i].sum[r]));
        for (int64_t d = 0; d < D; d += LANES)
          store(to + r * D + d, load(states[i].weighted + r * D + d) / sum);
      }
    }
  }

  // Tokens that share blocks read a few blocks at a time, so that these stay in the first-level cache.
  void attend_segment(const Layer& l, const Segment& segment, int64_t chunk_start, int64_t g,
                      Blocks blocks, Scores scores, Softmax* states) {
    const int64_t blocks_per_pass = segment.count > 1 ? blocks_for((int)rows_per_tile)
                                                      : segment.last - segment.first;
    for (int64_t from = segment.first; from < segment.last; from += blocks_per_pass) {
      const int64_t to = std::min(segment.last, from + blocks_per_pass);
      const int valid = to == segment.last ? segment.valid : BLOCK_TOKENS;
      for (int64_t n = segment.token; n < segment.token + segment.count; n++) {
        blocks.table = table(l.group, n) + l.member;
        // First key of the token's window: blocks before it are skipped, keys before it are hidden.
        const int64_t key = l.window ? std::max<int64_t>(0, s.position[n] - l.window + 1) : 0;
        const int64_t begin = std::max(from, key / BLOCK_TOKENS);
        if (begin >= to) continue;
        const int hidden = begin == key / BLOCK_TOKENS ? (int)(key % BLOCK_TOKENS) : 0;
        for (int64_t t = 0; t < tiles_per_group; t++) {
          const int64_t head = t * rows_per_tile;
          const int rows = (int)std::min(rows_per_tile, per_group - head);
          attend(rows, q + (n * H + g * per_group + head) * D, (int)D, blocks, begin, to,
                 {hidden, valid}, scores, states[(n - chunk_start) * tiles_per_group + t]);
        }
      }
    }
  }

  // -------------------------------------------------------------------- plan

  int64_t num_full_blocks(int64_t n) const { return (s.position[n] + 1) / BLOCK_TOKENS; }

  void plan_segments(int64_t group) {
    auto& [segments, chunks] = w.plans[group];
    segments.clear();
    chunks.clear();
    for (int64_t first = 0; first < N; first += CHUNK) {
      chunks.push_back((int32_t)segments.size());
      add_segments(group, first, std::min(N, first + CHUNK), 0);
    }
    chunks.push_back((int32_t)segments.size());
  }

  // Add the segments of tokens `from` to `to` - 1, which share all blocks before `block`. The first
  // segment has the further blocks that all of these tokens share. For the blocks after that, the
  // tokens are divided recursively into groups that still share a block. Blocks that a window has
  // passed are no exception: a token reads its own table, and none of them.
  void add_segments(int64_t group, int64_t from, int64_t to, int64_t block) {
    auto& segments = w.plans[group].segments;
    if (to - from == 1) {
      const int64_t last = s.position[from] / BLOCK_TOKENS + 1;
      const int valid = s.position[from] % BLOCK_TOKENS + 1;
      if (last > block) segments.push_back({(int32_t)from, 1, block, last, valid});
      return;
    }
    int64_t common = block;
    while (share_block(group, from, to, common)) common++;
    if (common > block)
      segments.push_back({(int32_t)from, (int32_t)(to - from), block, common, BLOCK_TOKENS});
    for (int64_t start = from, end; start < to; start = end) {
      end = start + 1;
      while (end < to && share_block(group, end - 1, end + 1, common)) end++;
      add_segments(group, start, end, common);
    }
  }

  // True if entry `entry` of the block tables of tokens `from` to `to` - 1 has the same full blocks.
  bool share_block(int64_t group, int64_t from, int64_t to, int64_t entry) const {
    const int64_t at = entry * m.group_sizes[group];  // the blocks of an entry are shared together
    for (int64_t n = from; n < to; n++)
      if (num_full_blocks(n) <= entry || table(group, n)[at] != table(group, from)[at]) return false;
    return true;
  }

  // Add the time since the last call to a phase.
  void lap(Phase phase) {
#pragma omp master
    {
      const auto now = std::chrono::steady_clock::now();
      s.seconds[phase] += std::chrono::duration<double>(now - clock).count();
      clock = now;
    }
  }

  const Model& m;
  const Step& s;
  Workspace& w;
  const int64_t N, E, F, H, G, D, X, U, scores_per_row, shares_per_row;
  const int64_t per_group, tiles_per_group, rows_per_tile;
  float *x, *qkv, *attended, *hidden;
  float* low;    // (rows, max_rank): A·x of the adapters
  float* added;  // (tokens, E): a product that is normalised before it is added to the stream
  bf16* q;
  Rows rows_in;
  // Of a sparse layer: its normalised inputs, (N, E); scores and shares of the experts of each row;
  // their numbers and the row's slots with them, (N, U); hidden channels and inputs of each slot.
  float *normed, *scores, *shares, *expert_hidden;
  int32_t* chosen;
  int64_t* slot;
  Rows slots_in;
  std::chrono::steady_clock::time_point clock;
};

}  // namespace

extern "C" {

Workspace* archon_workspace_new() { return new Workspace; }

void archon_workspace_free(Workspace* workspace) { delete workspace; }

// One product, for tests and timings: x is (rows, I), y is (rows, O).
void archon_product(const Linear* linear, const float* x, int64_t rows, float* y, int64_t threads) {
  static thread_local QuantizedRows memory;
  const Rows quantized = memory.get(rows, linear->inputs, *linear);
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (int64_t n = 0; n < rows; n++)
      quantize_for(*linear, x + n * linear->inputs, linear->inputs, n, quantized);
    product(quantized, rows, *linear, threads, y,
            [](int64_t, int64_t, Floats&, Floats&) {});
  }
}

// Attention of the first layer, for tests.
void archon_attention(const Model* model, const Step* step, const float* queries, float* out) {
  Workspace workspace;
  Run(*model, *step, workspace).attention_of(queries, out);
}

void archon_step(const Model* model, const Step* step, Workspace* workspace) {
  Run(*model, *step, *workspace).all();
}

}  // extern "C"
