// The API: single questions, and the live state by Server-sent events or, where these do not come through, by asking again and again.

const pollMilliseconds = 2000, reopenMilliseconds = 10000, interruptionMilliseconds = 4000, answerMillisecondsMax = 15000;

/// What the API, or its absence, answered instead of an answer.
export class Trouble extends Error {
  constructor(message, remedy, status) {
    super(message);
    this.remedy = remedy;
    this.status = status;
  }
}

/// Asks one question. Parameters that are null are left out. Throws `Trouble`.
export async function ask(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined));
  let response, body;
  try {
    response = await fetch(`api/v1/${path}${query.size ? "?" + query : ""}`, { headers: { accept: "application/json" }, signal: AbortSignal.timeout(answerMillisecondsMax) });
    body = await response.text();
  } catch (error) {
    throw new Trouble(
      error.name === "TimeoutError" ? `the console has not answered for ${answerMillisecondsMax / 1000} s` : "the console does not answer",
      "see whether it still runs, and whether the network is there; this page asks again by itself", 0);
  }
  let answer;
  try { answer = JSON.parse(body); } catch { answer = { error: `the console answered ${response.status} with something that is not JSON` }; }
  if (!response.ok) throw new Trouble(answer.error ?? `the console answered ${response.status}`, answer.remedy, response.status);
  return answer;
}

/// Calls `onState` with each new state of a pipeline, and `onTrouble` with what is wrong, or null when it no longer is.
/// `onMode` hears "live", "polling" or "connecting". Nothing is asked while the page is hidden.
export function follow(pipeline, { onState, onTrouble, onMode }) {
  const path = `pipelines/${encodeURIComponent(pipeline)}`;
  let source = null, poll = null, reopen = null, last = null;

  function came(state) {
    onTrouble(null);
    onState(state);
  }

  async function askAgain() {
    const mine = poll;
    try {
      const [state, { nodes }] = await Promise.all([ask(path), ask(`${path}/nodes`)]);
      if (poll !== mine) return;
      const now = performance.now();
      // Learned since the last answer; the stream says it itself.
      const events_per_s = last ? Math.max(0, (state.learned_total - last.learned) / ((now - last.at) / 1000)) : undefined;
      last = { learned: state.learned_total, at: now };
      onMode("polling");
      came({ ...state, nodes, events_per_s });
    } catch (trouble) {
      if (poll !== mine) return;
      onMode("polling");
      onTrouble(trouble);
    }
    if (poll === mine) poll = setTimeout(askAgain, pollMilliseconds);
  }

  function stopPolling() {
    clearTimeout(poll);
    poll = last = null;
  }

  function open() {
    clearTimeout(reopen);
    source?.close();
    source = new EventSource(`api/v1/${path}/stream`);
    source.addEventListener("open", stopPolling);
    source.addEventListener("state", (event) => {
      stopPolling();
      onMode("live");
      came(JSON.parse(event.data));
    });
    source.addEventListener("problem", (event) => {
      const { error, remedy } = JSON.parse(event.data);
      onTrouble(new Trouble(error, remedy, 503));
    });
    source.addEventListener("error", () => {
      // Refused (too many streams, no database), the browser gives up; interrupted, it comes back by itself, mostly at once. Meanwhile it is asked.
      const isRefused = source.readyState === EventSource.CLOSED;
      if (isRefused) reopen = setTimeout(open, reopenMilliseconds);
      if (poll === null) poll = setTimeout(askAgain, isRefused ? 0 : interruptionMilliseconds);
    });
  }

  function close() {
    clearTimeout(reopen);
    stopPolling();
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    onMode("connecting");
    open();
  });
  onMode("connecting");
  if (!document.hidden) open();
}
