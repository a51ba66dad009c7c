/** A lookup that its service bills $0.002. */
export function lookUp(city: string): Promise<string> {
  return Promise.resolve(`It rains in ${city}.`);
}
