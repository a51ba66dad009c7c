/** Values of labels that come from outside: those of a label beyond a bound become one, so that no label set grows without bound. */
import { labelValuesMax, otherLabel } from './names';

export class LabelValues {
  private readonly known = new Map<string, Set<string>>();

  bounded(label: string, value: string, most = labelValuesMax): string {
    const values = this.known.get(label) ?? new Set<string>();
    this.known.set(label, values);
    if (values.has(value)) return value;
    if (values.size >= most) return otherLabel;
    values.add(value);
    return value;
  }
}
