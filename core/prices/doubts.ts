/** Why what a provider reported cannot be all that it bills, although the answer is whole. */

export const doubts = {
  noLastReport:
    'The usage cannot be billed: the stream did not say at its end what was used. The call is settled at its estimate until its ' +
    'cost is corrected.',
  noReport: 'The provider reported no usage with its answer.',
  twoMessages:
    'The usage cannot be billed: the stream began a second message, so what it reports is not all. The call is settled at its ' +
    'estimate until its cost is corrected.',
  unknownRefusal:
    'The model refused before it wrote anything, in a category of which it is not known whether it is billed. The call is settled ' +
    'at its estimate until its cost is corrected.',
} as const;
