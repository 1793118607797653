/** An answer of vCD that is not a success, as `<Error>` (or with an empty body where vCD sends none). */
export class ApiError extends Error {
  readonly status: number;
  readonly minorCode: string | undefined;

  /** @param minorCode undefined for an answer without a body */
  constructor(status: number, minorCode: string | undefined, message: string) {
    super(message);
    this.status = status;
    this.minorCode = minorCode;
  }
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, 'BAD_REQUEST', message);
}

/** What vCD says of objects that do not exist as of those that one may not see: 403, never 404. */
export function forbidden(what: string): ApiError {
  return missingRight('Base', what);
}

export function missingRight(right: string, what: string): ApiError {
  return new ApiError(
    403,
    'ACCESS_TO_RESOURCE_IS_FORBIDDEN',
    `Either you need some or all of the following rights [${right}] to perform operations [${what}] or the target entity is invalid.`,
  );
}
