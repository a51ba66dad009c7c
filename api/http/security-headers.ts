/** What every answer tells a browser: it is shown in no frame, runs nothing, and is what it says. The dashboard says more. */
export const securityHeaders: Record<string, string> = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};
