// A refusal by the server, as RFC 9457 problem details: a code for the program, a sentence for the person.

export class Problem extends Error {
  name = "Problem";

  constructor({ code = "unexpected", title = "", detail = "", status = 0, ...extra }) {
    super(detail || title || code);
    this.code = code;
    this.title = title;
    this.detail = detail;
    this.status = status;
    this.extra = extra;
  }

  /** When to try again, in milliseconds since the epoch, or null when the server didn't say. */
  get retryAt() {
    if (typeof this.extra.retry_at === "number") return this.extra.retry_at;
    if (typeof this.extra.retry_after === "number") return Date.now() + this.extra.retry_after * 1000;
    return null;
  }
}

export const unreachable = () =>
  new Problem({
    code: "server_unreachable",
    title: "No connection",
    detail: "Rollcall can't be reached. Check this machine's connection; the phone keeps trying.",
  });

/** The server takes a dialled number for another one, such as the same without a needless 0: the person should decide. */
export const readOtherwise = (dialled, read) =>
  new Problem({
    code: "read_otherwise",
    title: "Check the number",
    detail: `The server reads ${dialled} as ${read}. Call that one if it is whom you mean.`,
  });
