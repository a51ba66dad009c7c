/** How many there are of a thing, in words: "1 hold", "2 holds", "0 holds". */
export const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;
