// Follows a run: the answer to each request is the next state of the part of the page that has the attribute data-follow.
"use strict";

const pause = seconds => new Promise(end => setTimeout(end, seconds * 1000));

async function follow() {
  for (let part; (part = document.querySelector("[data-follow]"));) {
    const answer = await fetch(part.dataset.follow).catch(() => null);
    if (answer && answer.status === 200 && !answer.redirected) {
      part.outerHTML = await answer.text();
    } else if (answer && (answer.redirected || answer.status === 404)) {
      return location.reload(); // for example, because the session has ended
    } else if (!answer || answer.status !== 204) {
      await pause(Number(answer?.headers.get("Retry-After")) || 3);
    }
  }
}

follow();
