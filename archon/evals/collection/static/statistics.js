// Paired comparison of two runs, with the methods of archon/evals/statistics.py.

const RESAMPLES = 9999, TAIL = 0.025;

// The differences of two runs, by item, on the items of both.
function pairedDifferences(a, b) {
  const differences = [];
  for (let item = 0; item < Math.min(a.length, b.length); item += 1) {
    const [first, second] = [shareOf(a, item), shareOf(b, item)];
    if (first !== null && second !== null) differences.push(first - second);
  }
  return differences;
}

function shareOf(marks, item) {
  const mark = marks[item];
  return mark === "." || mark === null || mark === undefined ? null : Number(mark);
}

const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// Two opposite differences stand for those that a small sample happens not to contain.
function withTwoAdded(differences) {
  const sizes = differences.filter((value) => value !== 0).map((value) => value * value);
  const size = sizes.length ? Math.sqrt(average(sizes)) : 1;
  return [...differences, size, -size];
}

// The 95% percentile bootstrap interval of the mean difference.
function pairedInterval(differences) {
  const resampled = withTwoAdded(differences);
  const isWhole = differences.every((value) => value === 0 || Math.abs(value) === 1);
  const [low, high] = isWhole ? exactBootstrap(resampled) : sampledBootstrap(resampled);
  const mean = average(differences);
  return [Math.min(low, mean), Math.max(high, mean)];
}

// For differences of −1, 0 and 1, the distribution of the resampled sum is computed, not sampled.
function exactBootstrap(values) {
  const { length } = values;
  const down = values.filter((value) => value < 0).length / length;
  const up = values.filter((value) => value > 0).length / length;
  let sums = new Float64Array(2 * length + 1);
  sums[length] = 1;
  for (let drawn = 0; drawn < length; drawn += 1) {
    const next = new Float64Array(2 * length + 1);
    for (let at = length - drawn; at <= length + drawn; at += 1) {
      next[at - 1] += sums[at] * down;
      next[at] += sums[at] * (1 - down - up);
      next[at + 1] += sums[at] * up;
    }
    sums = next;
  }
  const end = (order) => {
    let total = 0;
    for (const at of order) {
      total += sums[at];
      if (total >= TAIL) return (at - length) / length;
    }
    return 0;
  };
  const places = [...sums.keys()];
  return [end(places), end([...places].reverse())];
}

function sampledBootstrap(values) {
  const random = generator();
  const means = Array.from({ length: RESAMPLES }, () => {
    let sum = 0;
    for (let drawn = 0; drawn < values.length; drawn += 1) sum += values[Math.floor(random() * values.length)];
    return sum / values.length;
  }).sort((a, b) => a - b);
  const at = Math.round(TAIL * (RESAMPLES - 1));
  return [means[at], means[RESAMPLES - 1 - at]];
}

// McNemar's exact test; if the differences have several sizes, random choices of their signs.
function pairedProbability(differences) {
  const differing = differences.filter((value) => value !== 0);
  if (!differing.length) return 1;
  const size = Math.abs(differing[0]);
  if (differing.every((value) => Math.abs(Math.abs(value) - size) < 1e-9)) {
    const better = differing.filter((value) => value > 0).length;
    return Math.min(1, 2 * binomialTail(Math.min(better, differing.length - better), differing.length));
  }
  const random = generator();
  const seen = Math.abs(differing.reduce((sum, value) => sum + value, 0)) - 1e-9;
  let extreme = 1;
  for (let drawn = 0; drawn < RESAMPLES; drawn += 1) {
    let sum = 0;
    for (const value of differing) sum += random() < 0.5 ? value : -value;
    if (Math.abs(sum) >= seen) extreme += 1;
  }
  return extreme / (RESAMPLES + 1);
}

// P(X ≤ most) for the number of heads X of `count` fair coins.
function binomialTail(most, count) {
  let log = -count * Math.LN2, total = Math.exp(log);
  for (let heads = 1; heads <= most; heads += 1) {
    log += Math.log(count - heads + 1) - Math.log(heads);
    total += Math.exp(log);
  }
  return total;
}

// Holm's adjusted probabilities, in the given order.
function holm(probabilities) {
  const ranked = probabilities.map((value, index) => [value, index]).sort((a, b) => a[0] - b[0]);
  const adjusted = [];
  let largest = 0;
  ranked.forEach(([value, index], rank) => {
    largest = Math.max(largest, Math.min(1, (ranked.length - rank) * value));
    adjusted[index] = largest;
  });
  return adjusted;
}

// Random numbers from a fixed seed (xorshift32), so that a page always shows the same figures.
function generator() {
  let state = 2463534242;
  return () => {
    state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
}
