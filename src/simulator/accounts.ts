/** What a role lets its users do; the names are vCD's. */
export const ROLES: Readonly<Record<string, readonly string[]>> = {
  'System Administrator': [
    'Catalog: View Private and Shared Catalogs within Current Organization',
    'vApp Template / Media: Create / Upload',
    'vApp Template / Media: Edit',
    'vApp Template: Download',
    'Organization: View',
    'Organization: Edit Leases Policy',
  ],
  'Organization Administrator': [
    'Catalog: View Private and Shared Catalogs within Current Organization',
    'vApp Template / Media: Create / Upload',
    'vApp Template / Media: Edit',
    'vApp Template: Download',
    'Organization: View',
    'Organization: Edit Leases Policy',
  ],
  'Catalog Author': [
    'Catalog: View Private and Shared Catalogs within Current Organization',
    'vApp Template / Media: Create / Upload',
    'vApp Template / Media: Edit',
    'vApp Template: Download',
  ],
  'vApp User': ['Catalog: View Private and Shared Catalogs within Current Organization'],
};

export const UPLOAD_RIGHT = 'vApp Template / Media: Create / Upload';
export const DOWNLOAD_RIGHT = 'vApp Template: Download';
export const EDIT_RIGHT = 'vApp Template / Media: Edit';
export const ORG_VIEW_RIGHT = 'Organization: View';

export interface Account {
  readonly org: string;
  readonly user: string;
  readonly password: string;
  readonly role: string;
  /** Never changes, never expires. */
  readonly apiToken: string;
  /** A service account has no password; each use of its token burns it and makes another. */
  serviceToken?: string;
}

/** Who there is, for `password` and for the tokens that are made of it. */
export function accountsOf(password: string): Account[] {
  const account = (org: string, user: string, role: string): Account => ({
    org,
    user,
    password,
    role,
    apiToken: `${password}-token-${org}-${user}`.toLowerCase(),
  });
  const robot = (org: string, role: string): Account => ({
    ...account(org, 'robot', role),
    password: '',
    serviceToken: `${password}-service-${org}`.toLowerCase(),
  });
  return [
    account('acme', 'admin', 'Organization Administrator'),
    account('acme', 'author', 'Catalog Author'),
    account('acme', 'reader', 'vApp User'),
    robot('acme', 'Catalog Author'),
    account('globex', 'admin', 'Organization Administrator'),
    account('System', 'administrator', 'System Administrator'),
    robot('System', 'System Administrator'),
  ];
}
