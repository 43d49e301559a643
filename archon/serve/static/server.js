// Requests to the server of this page. The API key stays in this tab.

const KEY = "archon-api-key";

class ServerError extends Error {
  constructor(message, { status = 0, param = null } = {}) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

function headers(more = {}) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server cannot be reached. Is archon serve still running?");
  }
  if (response.ok) return response;
  const found = await response.json().then((body) => body.error, () => null);
  throw new ServerError(found?.message ?? `The server answered with status ${response.status}.`, { status: response.status, param: found?.param });
}

async function served() {
  const [models, graphs] = await Promise.all(["v1/models", "v1/architectures"].map(async (path) => (await request(path)).json()));
  const graphOf = new Map(graphs.data.map((graph) => [graph.id, graph]));
  return models.data.map(({ id }) => ({ id, graph: graphOf.get(id) ?? null }));
}

// Send a chat request; call `onChunk` for each chunk of the stream.
async function streamChat(body, signal, onChunk) {
  const response = await request("v1/chat/completions", {
    method: "POST", signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let isOver = false;
  for (;;) {
    let read;
    try {
      read = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError("The connection to the server broke off.");
    }
    if (read.done) break;
    const lines = (rest + read.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") {
        isOver = true;
        continue;
      }
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ServerError(chunk.error.message, { param: chunk.error.param });
      onChunk(chunk);
    }
  }
  if (!isOver) throw new ServerError("The answer broke off before its end.");
}
