/** What goes wrong in the worker, and is a HumanParseError of the same code outside. */
export class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}
