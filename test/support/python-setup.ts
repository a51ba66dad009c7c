/** What test files of Python share is made before the first of them begins: two that make it at once would undo each other's. */
import { preparedPython } from './python';

export default async function pythonSetup(): Promise<void> {
  await preparedPython();
}
