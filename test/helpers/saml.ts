/** A holder's certificate and key: for tests alone. */
export const HOLDER = {
  cert: `-----BEGIN CERTIFICATE-----
MIIDBTCCAe2gAwIBAgIUGhi5OQtQvFJK23iMPMsJ9mi+fxwwDQYJKoZIhvcNAQEL
BQAwETEPMA0GA1UEAwwGaG9sZGVyMCAXDTI2MTEyMjE5MTEwMFoYDzIxMjYxMDI5
MTkxMTAwWjARMQ8wDQYDVQQDDAZob2xkZXIwggEiMA0GCSqGSIb3DQEBAQUAA4IB
DwAwggEKAoIBAQCeXb8s555tA+YEILKOSGRgNMXaG7OnzGpFHCi4veKE2wP+saU/
PExarS9txiKOuvohCjF0E3dSKAV9TJ34ggiuY1wBks+9kiNXpdAgEna74/GyUFjj
5lMpZetzPiNlUU3tNJA+hAckmhRZFz34/hfz1Bkm/hLj0UHiLFqGiJsCRW0Msos7
PgNUzdevC02RlLFSTZAXdwEA8PXH/4ycDFx7Dl0I2GwtaCXUXXSt1V+KLPBl+s89
0C12bWsjsphiS8jZBnR7STpP9ulaRisN4vc4u2A9PHXw9ZMxxXoB7jXdr7nAvDtx
WY1RWZLDRBJZUBSzpUntsZj8C4OHh9bHbj7vAgMBAAGjUzBRMB0GA1UdDgQWBBSV
TUrZlfrtjCfht7XIY8fmb/5YWjAfBgNVHSMEGDAWgBSVTUrZlfrtjCfht7XIY8fm
b/5YWjAPBgNVHRMBAf8EBTADAQH/MA0GCSqGSIb3DQEBCwUAA4IBAQCRYQyT/0Gk
6XGcHyAfuifVXG3SmtVslgNrKFgYzzTMPCXH6HRQS+PpMk947F7X0h3dUorcF48z
ecBtu8GfiWOwOnLaZp6JFN0CbG1DQ4fSoiJ3mvpZl+xb7FEFR0VduaHtuxYAZhyV
+dpuGs+2Jwl26inc6yGt2yIOCyMNrvzwlTVHMQGK7fFTMujZhtHGeTF17bd/UCQv
LgrlVKmUWEJhrZhwDZ6noUqQcrOTR+om3ALg3rYXbGmf5mKnJoQt1oMtzVklJ4Eo
tOxMpKD5VozlDNU2XdRygcwf5JgTC9DnOdHbtefkLMJmXhcoOcxxVIqtalrP7bPV
7o6w6PbJBkCT
-----END CERTIFICATE-----
`,
  key: `-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCeXb8s555tA+YE
ILKOSGRgNMXaG7OnzGpFHCi4veKE2wP+saU/PExarS9txiKOuvohCjF0E3dSKAV9
TJ34ggiuY1wBks+9kiNXpdAgEna74/GyUFjj5lMpZetzPiNlUU3tNJA+hAckmhRZ
Fz34/hfz1Bkm/hLj0UHiLFqGiJsCRW0Msos7PgNUzdevC02RlLFSTZAXdwEA8PXH
/4ycDFx7Dl0I2GwtaCXUXXSt1V+KLPBl+s890C12bWsjsphiS8jZBnR7STpP9ula
RisN4vc4u2A9PHXw9ZMxxXoB7jXdr7nAvDtxWY1RWZLDRBJZUBSzpUntsZj8C4OH
h9bHbj7vAgMBAAECggEADd1EMuC2MHISbZMVPrqcuwVzutQJBuww84rzD7VkAuCP
uXkA8AfN4XRe/hvGA7vf0Qus564amKEzVdRi0hJEQ0wkjmi1cjG8kVxNW7lyFqHu
k39QQOd1qV6oXcb3X1PeYCFlbWuummg41tHflZBdNXYAm7bLnZFA1NWwOS31cB3T
fF/CU3PPN4WsGQ6f+syuqJIHp/8IqvEBYIIr4hyIr7GYbjUQyJ1DJx9HBiMtv1nm
iSSK+1p9X/2CRgR6cByWN5JQK7zg3oHyMvl1TYe8TvXifkprx6FYImQokvMAubPr
pQCVs6carx6u8Om9rEdZfm3g/MjDctgsRStXRlwzaQKBgQDbB4X2/CnRJ8zHuf5M
DKJ1HCDvefqfN6eC34KoJ0dXieMsCfXmWciA0PqHdGeepvKcUvPX4PKCMPgQPGlC
TJMF4oxBCKyTnLegQSOzg3uIZz0CujOCAneqt44/SFSktczBYtX3Y56CbJ4+QQtK
Lt0wYcS1wB6fuA5lvkZ7VB0U6QKBgQC5GOgxI4VRuo/hrWfNrPv8fBsVBjhJVhiO
CSWIo/UmToVWh1+twJ0tuu3AV3hsJ8FwYgsh7wQNolwchnmSNF+qZKPApDQVF47x
bQh8idg2xLlacpjHOKo5mydTCZNVvJ3c0XOnTCN64GMpKEMm4/j1ggbMaaRdVzER
25D7WuOuFwKBgFy6qKrSQ1n7gaUlR1YnGzh9eiwo9kQmKdMskYJjbr7O79CbPvIR
HOP8lbR3Qc9XWut36yiAYetglAU7rkyVYsFhEoQOChJMjSlZqqW7irdLDfdzoY7v
QH6US7LbCorZNSDCmVetY1RQbAZrPz5e7OIo4kEYX167a80Da4+XIuDRAoGAVE5N
46PEI3eP9UBgGUQC+fsk8qyEkpKOWJM970COdkYpYUIDiEZE0QFlLMgqZ0isSJ2/
aFNPS056Gdv+H2OPdzKjiyi/OCQkzT3WMbMvMbLkoZe0knjyv441mRKxcsmYNW2I
+dgqCNuPDr3x6BLJ4Di7E/vCC2mdRf71yCabsT0CgYEAoE4+dm2w6EgcIWZehz9F
4yMwWFcSmfPruc4/hnpL4zRAmFdBkz4QyNrzdimFsbv6m9yGx82Uwv1QBWxy9LIu
eowH3f/l3dRoexC/oCrv+6JOnv/DjIoWZJ5j/0sm4prPjQ4jeVCbV4zd0GI/3YOT
q5fJKA43/NQ48w8I9C/r4E8=
-----END PRIVATE KEY-----
`,
} as const;

/** What an identity provider would issue for a user of that name. */
export function assertionFor(
  user: string,
  { holder = false, until = new Date(Date.now() + 3_600_000) } = {},
): string {
  const method = `urn:oasis:names:tc:SAML:2.0:cm:${holder ? 'holder-of-key' : 'bearer'}`;
  const certificate = HOLDER.cert.replaceAll(/-----[A-Z ]+-----|\n/g, '');
  const key = holder
    ? `<saml2:SubjectConfirmationData><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>${certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></saml2:SubjectConfirmationData>`
    : '';
  return `<?xml version="1.0" encoding="UTF-8"?>
<saml2:Assertion xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion" ID="_1" IssueInstant="${new Date().toISOString()}" Version="2.0"><saml2:Issuer>https://idp.example.com</saml2:Issuer><saml2:Subject><saml2:NameID>${user}</saml2:NameID><saml2:SubjectConfirmation Method="${method}">${key}</saml2:SubjectConfirmation></saml2:Subject><saml2:Conditions NotOnOrAfter="${until.toISOString()}"/></saml2:Assertion>
`;
}
