// What went wrong, whoever says so.

/** A failure that the visitor is told about.
 *
 * code: the code of the server's problem, or network, cancelled, bad_answer or unsupported_browser;
 * retryAfter: seconds, or null.
 */
export class Problem extends Error {
  constructor(code, detail = '', { retryable = false, retryAfter = null } = {}) {
    super(detail || code);
    Object.assign(this, { code, detail, retryable, retryAfter });
  }
}
