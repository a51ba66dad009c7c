/** How many calls of the proxy are under way: no owner takes all the places that there are. */
import { ApiError } from '../http/errors';

const callsMax = { perOwner: 2_000, all: 5_000 };

export class OpenCalls {
  private readonly owners = new Map<string, number>();
  private all = 0;

  /** Takes a place until it is given back. @throws ApiError `too_much_at_once`. */
  enter(owner: string): () => void {
    const own = this.owners.get(owner) ?? 0;
    if (own >= callsMax.perOwner || this.all >= callsMax.all)
      throw new ApiError('too_much_at_once', `There are ${own} calls under way already. No call was made.`, {
        retryAfter: 1,
      });
    this.owners.set(owner, own + 1);
    this.all += 1;
    return () => {
      const left = (this.owners.get(owner) ?? 1) - 1;
      if (left > 0) this.owners.set(owner, left);
      else this.owners.delete(owner);
      this.all -= 1;
    };
  }
}
