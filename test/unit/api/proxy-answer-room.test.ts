/** How much of answers that come whole the wire proxy keeps, and how long one may become. */
import { answerBytesMax, answerBytesOf, AnswerRoom } from '../../../api/proxy/answer-room';

const asked = { maxOutputTokens: 1_000, inputTokens: 500, mustBeCounted: false, planned: {}, isStream: false };

describe('room for answers', () => {
  test('is given until an owner has its share, or all of it is taken, and again once some is given back', () => {
    const room = new AnswerRoom({ perOwnerBytes: 60, allBytes: 100 });
    const [one, two, other] = [room.shareOf('a'), room.shareOf('a'), room.shareOf('b')];
    expect([one.growTo(50), two.growTo(20), two.growTo(10)]).toEqual([true, false, true]);
    expect([other.growTo(50), other.growTo(40), other.growTo(39)]).toEqual([false, true, true]);
    one.release();
    expect([two.growTo(61), two.growTo(60), other.growTo(41)]).toEqual([false, true, false]);
    two.release();
    two.release();
    expect(other.growTo(60)).toBe(true);
  });

  test('is taken for what an answer may become: by its tokens, what it repeats, and the others beside each token', () => {
    const plain = answerBytesOf({}, asked);
    expect(plain).toBeGreaterThan(64 * 1_000);
    expect(answerBytesOf({}, { ...asked, inputTokens: 1_500 })).toBe(plain + 2_000);
    const many = plain + (4_096 - 64) * 1_000;
    expect(answerBytesOf({ logprobs: true }, asked)).toBe(many);
    expect(answerBytesOf({ include: ['message.output_text.logprobs'] }, asked)).toBe(many);
    expect(answerBytesOf({ generation_config: { response_logprobs: true } }, asked)).toBe(many);
    expect(answerBytesOf({}, { ...asked, maxOutputTokens: 100_000_000 })).toBe(answerBytesMax);
    expect(answerBytesOf({}, { ...asked, answerBytes: 7 })).toBe(7);
  });
});
