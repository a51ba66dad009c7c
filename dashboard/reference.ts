/** The reference of the API at `/docs`: a viewer of its OpenAPI document, in which requests can be tried with a key that is typed in. */
import 'openapi-explorer/dist/browser/openapi-explorer.min.js';
import './reference.css';

/** The viewer takes colours as attributes, and works out others from them. */
const colors = {
  light: {
    'primary-color': '#1f5fbf',
    'secondary-color': '#3a4a63',
    'bg-color': '#ffffff',
    'header-bg-color': '#ffffff',
    'text-color': '#1c2330',
    'header-color': '#1c2330',
    'nav-bg-color': '#f3f5f9',
    'nav-text-color': '#1c2330',
    'nav-hover-bg-color': '#e2e8f2',
    'nav-hover-text-color': '#1c2330',
  },
  dark: {
    'primary-color': '#7fb0ff',
    'secondary-color': '#a9b8d0',
    'bg-color': '#14171d',
    'header-bg-color': '#14171d',
    'text-color': '#e4e8f0',
    'header-color': '#e4e8f0',
    'nav-bg-color': '#1e232c',
    'nav-text-color': '#e4e8f0',
    'nav-hover-bg-color': '#2a313d',
    'nav-hover-text-color': '#ffffff',
  },
};

const viewer = document.createElement('openapi-explorer');
const set = (attributes: Record<string, string>): void =>
  Object.entries(attributes).forEach(([name, value]) => viewer.setAttribute(name, value));

const darkness = matchMedia('(prefers-color-scheme: dark)');
const paint = (): void => set(darkness.matches ? colors.dark : colors.light);
darkness.addEventListener('change', paint);
paint();
// Requests go to where this page came from, and nowhere else.
set({ 'spec-url': '/openapi.json', 'server-url': location.origin, 'hide-server-selection': 'true' });
document.body.append(viewer);
