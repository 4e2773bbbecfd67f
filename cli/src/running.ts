/** What every long-running command of `sluice` gives to the process that runs it. */

/** A running command. */
export interface Running {
  /** What to print: where it is and what it can do. */
  readonly greeting: string;
  /** Ends what is under way in an orderly manner; the process ends after it. */
  stop(): Promise<void>;
}
