// Sampling of a token from logits without sorting the vocabulary, by the rules of `sampler.py`.
//
// A row consists of blocks of 32 logits. The k-th largest of the blocks' maxima is at most the k-th
// largest logit, so the k largest logits are in blocks whose maximum reaches that bound.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "simd.h"

struct Rule {  // the fields of `SamplingRule`, in its order, without the logit bias
  float temperature;
  int32_t top_k;
  float top_p;
  float min_p;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  float typical_p;
  float top_n_sigma;
};

// Tokens of one row whose logits change: those with a bias, and those of prompt and sample with
// their counts in the sample. No token occurs twice in a list.
struct Changes {
  const int32_t* biased;
  const float* biases;
  int64_t num_biased;
  const int32_t* used;
  const int32_t* counts;
  int64_t num_used;
};

namespace {

constexpr int64_t BLOCK = 32;
constexpr int64_t FIRST_CANDIDATES = 64;  // enough for top-p on most rows; if not, times 4

struct Candidate {
  float logit;
  int32_t token;
  bool operator<(const Candidate& other) const {  // likelier tokens first, earlier ones among equals
    return logit != other.logit ? logit > other.logit : token < other.token;
  }
};

// Apply biases and penalties, in the order of `penalties.py`.
void penalize(float* logits, const Rule& rule, const Changes& changes) {
  for (int64_t i = 0; i < changes.num_biased; i++) logits[changes.biased[i]] += changes.biases[i];
  for (int64_t i = 0; i < changes.num_used; i++) {
    float& logit = logits[changes.used[i]];
    const float r = rule.repetition_penalty;
    logit = logit > 0 ? logit / r : logit * r;
    const int32_t count = changes.counts[i];
    logit = logit - count * rule.frequency_penalty - (count > 0 ? rule.presence_penalty : 0.0f);
  }
}

// Set logits more than n standard deviations below the largest one to -infinity.
void cut_below_sigmas(float* logits, int64_t size, float n) {
  double sum = 0, squares = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < size; i++) {
    if (std::isinf(logits[i])) continue;  // ruled out by a constraint
    sum += logits[i];
    count++;
  }
  const double mean = sum / count;
  for (int64_t i = 0; i < size; i++)
    if (!std::isinf(logits[i])) squares += (logits[i] - mean) * (logits[i] - mean);
  const double bound = *std::max_element(logits, logits + size) - n * std::sqrt(squares / count);
  for (int64_t i = 0; i < size; i++)
    if (logits[i] < bound) logits[i] = -INFINITY;
}

// Logits of one row, with the maximum of each block.
class Row {
 public:
  Row(const float* logits, int64_t size) : logits(logits), size(size) {
    maxima.resize((size + BLOCK - 1) / BLOCK);
    for (size_t b = 0; b < maxima.size(); b++) maxima[b] = block_maximum(b);
    best = *std::max_element(maxima.begin(), maxima.end());
  }

  // Return a token; `noise` is a uniform number in [0, 1).
  int32_t sample(const Rule& rule, double noise) {
    if (rule.temperature == 0) return first_of_largest();
    if (rule.top_k > 0 && rule.top_k < size) {
      const auto kept = largest(rule.top_k);
      double total = 0;
      for (const Candidate& c : kept) total += weight(c.logit, rule);
      return pick(kept, rule, total, noise);
    }
    if (rule.top_p < 1 || rule.min_p > 0) return sample_nucleus(rule, noise);
    if (rule.typical_p < 1) return sample_typical(rule, noise);
    return sample_from_all(rule, noise);
  }

 private:
  int32_t first_of_largest() const {
    const int64_t b = std::max_element(maxima.begin(), maxima.end()) - maxima.begin();
    for (int64_t i = b * BLOCK; i < size; i++)
      if (logits[i] == best) return (int32_t)i;
    return (int32_t)(b * BLOCK);  // NaN
  }

  // Sort only the likeliest tokens; sort more of them until they include all that the rule keeps.
  int32_t sample_nucleus(const Rule& rule, double noise) {
    double total = 0;
    for (size_t b = 0; b < maxima.size(); b++) total += block_weight(b, rule);
    for (int64_t count = FIRST_CANDIDATES;; count *= 4) {
      const auto likeliest = largest(std::min(count, size));
      double mass = 0;
      for (const Candidate& c : likeliest) mass += weight(c.logit, rule);
      const bool all = (int64_t)likeliest.size() == size;
      const bool by_p = rule.top_p < 1 && mass >= rule.top_p * total;
      const bool by_min = rule.min_p > 0 && weight(likeliest.back().logit, rule) < rule.min_p;
      if (all || by_p || by_min) return pick(likeliest, rule, total, noise);
    }
  }

  // Truncate sorted tokens by the rule; return the one whose share of the weights contains the noise.
  int32_t pick(const std::vector<Candidate>& sorted, const Rule& rule, double total, double noise) {
    double kept = 0;
    size_t count = 0;
    for (; count < sorted.size(); count++) {
      const double w = weight(sorted[count].logit, rule);
      if (count && ((rule.top_p < 1 && kept >= rule.top_p * total) || w < rule.min_p)) break;
      kept += w;
    }
    if (rule.typical_p < 1) return pick_typical({sorted.begin(), sorted.begin() + count}, rule, kept, noise);
    double at = noise * kept;
    for (size_t i = 0; i + 1 < count; i++) {
      at -= weight(sorted[i].logit, rule);
      if (at < 0) return sorted[i].token;
    }
    return sorted[count - 1].token;
  }

  // Pick from the typical ones of all tokens. Those far from the entropy are rarely needed, so sort
  // only tokens within a bound, and raise the bound until they have enough weight.
  int32_t sample_typical(const Rule& rule, double noise) {
    double total = 0, entropy = 0;
    for (int64_t i = 0; i < size; i++) total += weight(logits[i], rule);
    for (int64_t i = 0; i < size; i++) entropy += surprise(logits[i], rule, total);
    for (double bound = 1;; bound *= 2) {
      std::vector<Candidate> near;
      double mass = 0;
      for (int64_t i = 0; i < size; i++) {
        if (std::abs(information(logits[i], rule, total) - entropy) > bound) continue;
        near.push_back({logits[i], (int32_t)i});
        mass += weight(logits[i], rule);
      }
      if (mass < rule.typical_p * total && (int64_t)near.size() < size && bound < 1e9) continue;
      std::sort(near.begin(), near.end());
      return pick_typical(near, rule, total, noise, entropy);
    }
  }

  // Keep the tokens whose information is closest to the entropy; pick one of them. `sorted` has the
  // likeliest tokens, or at least the typical ones, with the weight `total`.
  int32_t pick_typical(std::vector<Candidate> sorted, const Rule& rule, double total, double noise) {
    double entropy = 0;
    for (const Candidate& c : sorted) entropy += surprise(c.logit, rule, total);
    return pick_typical(sorted, rule, total, noise, entropy);
  }

  int32_t pick_typical(const std::vector<Candidate>& sorted, const Rule& rule, double total,
                       double noise, double entropy) {
    std::vector<std::pair<double, size_t>> order;  // distance from the entropy, index
    for (size_t i = 0; i < sorted.size(); i++)
      order.push_back({std::abs(information(sorted[i].logit, rule, total) - entropy), i});
    std::sort(order.begin(), order.end());
    double kept = 0;
    std::vector<char> is_kept(sorted.size());
    size_t last = 0;
    for (const auto& [distance, i] : order) {
      if (kept >= rule.typical_p * total) break;
      const double w = weight(sorted[i].logit, rule);
      if (w == 0) continue;
      kept += w;
      is_kept[i] = true;
      last = std::max(last, i);
    }
    double at = noise * kept;
    for (size_t i = 0; i < last; i++) {
      if (!is_kept[i]) continue;
      at -= weight(sorted[i].logit, rule);
      if (at < 0) return sorted[i].token;
    }
    return sorted[last].token;
  }

  // -log p of a logit, where `total` is the weight of all tokens that may be sampled.
  double information(float logit, const Rule& rule, double total) const {
    return std::log(total) - ((double)logit - best) / rule.temperature;
  }

  // Part of a logit in the entropy: -p log p.
  double surprise(float logit, const Rule& rule, double total) const {
    const double w = weight(logit, rule);
    return w == 0 ? 0 : w / total * information(logit, rule, total);
  }

  // Pick from all tokens, in the order of the vocabulary: first a block, then a token in it.
  int32_t sample_from_all(const Rule& rule, double noise) {
    double total = 0;
    for (size_t b = 0; b < maxima.size(); b++) {
      sums.push_back(block_weight(b, rule));
      total += sums[b];
    }
    double at = noise * total;
    size_t b = 0;
    for (; b + 1 < sums.size() && at >= sums[b]; b++) at -= sums[b];
    while (b && sums[b] == 0) b--;  // rounding may have skipped the last block with a weight
    const int64_t end = std::min<int64_t>(size, (b + 1) * BLOCK);
    int64_t last = b * BLOCK;
    for (int64_t i = b * BLOCK; i < end; i++) {
      const double w = weight(logits[i], rule);
      if (w == 0) continue;
      last = i;
      at -= w;
      if (at < 0) break;
    }
    return (int32_t)last;
  }

  // The `count` largest logits, in falling order.
  std::vector<Candidate> largest(int64_t count) {
    float bound = -INFINITY;
    if (count < (int64_t)maxima.size()) {
      std::vector<float> order = maxima;
      std::nth_element(order.begin(), order.begin() + (count - 1), order.end(), std::greater<>());
      bound = order[count - 1];
    }
    std::vector<Candidate> found;
    for (size_t b = 0; b < maxima.size(); b++)
      if (maxima[b] >= bound)
        for (int64_t i = b * BLOCK; i < std::min<int64_t>(size, (b + 1) * BLOCK); i++)
          if (logits[i] >= bound) found.push_back({logits[i], (int32_t)i});
    if (count < (int64_t)found.size()) {
      std::nth_element(found.begin(), found.begin() + (count - 1), found.end());
      found.resize(count);
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  // Weight of a logit; the likeliest token has weight 1.
  double weight(float logit, const Rule& rule) const {
    return std::exp(((double)logit - best) / rule.temperature);
  }

  // Sum of the weights of a block.
  double block_weight(size_t b, const Rule& rule) const {
    const Floats factor = splat(1.44269504f / rule.temperature);
    const Floats top = splat(best), floor = splat(-1e4f);
    double sum = 0;
    for (int64_t i = b * BLOCK; i < std::min<int64_t>(size, (b + 1) * BLOCK); i += LANES)
      sum += sum_of(exp2_of(larger((logits_at(i) - top) * factor, floor)));
    return sum;
  }

  float block_maximum(size_t b) const {
    Floats top = splat(-INFINITY);
    for (int64_t i = b * BLOCK; i < std::min<int64_t>(size, (b + 1) * BLOCK); i += LANES)
      top = larger(top, logits_at(i));
    return max_of(top);
  }

  Floats logits_at(int64_t i) const {
    return size - i >= LANES ? load(logits + i)
                             : load_first((int)(size - i), logits + i, -INFINITY);
  }

  const float* logits;
  const int64_t size;
  float best;
  std::vector<float> maxima;
  std::vector<double> sums;
};

int32_t sample_row(const float* logits, int64_t size, const Rule& rule, const Changes* changes,
                   double noise) {
  const bool has_changes = changes && (changes->num_biased || changes->num_used);
  const bool has_bound = rule.top_n_sigma > 0 && rule.temperature > 0;
  if (!has_changes && !has_bound) return Row(logits, size).sample(rule, noise);
  std::vector<float> changed(logits, logits + size);  // other rows may read the same logits
  if (has_changes) penalize(changed.data(), rule, *changes);
  if (has_bound) cut_below_sigmas(changed.data(), size, rule.top_n_sigma);
  return Row(changed.data(), size).sample(rule, noise);
}

}  // namespace

// Sample a token from each of `count` rows; `rows` has pointers to `size` logits each. `changes` is
// null if no row has any.
extern "C" void archon_sample(const float* const* rows, int64_t size, int64_t count,
                              const Rule* rules, const Changes* changes, const double* noise,
                              int64_t* tokens, int64_t threads) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int64_t n = 0; n < count; n++)
    tokens[n] = sample_row(rows[n], size, rules[n], changes ? changes + n : nullptr, noise[n]);
}
