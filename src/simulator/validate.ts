import libxmljs from 'libxmljs2';
import { badRequest } from './errors.ts';
import { VCLOUD } from './xml.ts';

function metadataType(kind: string): string {
  const type = { Number: 'xs:long', Boolean: 'xs:boolean', DateTime: 'xs:dateTime' }[kind];
  return `  <xs:complexType name="Metadata${kind}Value">
    <xs:complexContent><xs:extension base="MetadataTypedValue">
      <xs:sequence><xs:element name="Value" type="${type ?? 'xs:string'}"/></xs:sequence>
    </xs:extension></xs:complexContent>
  </xs:complexType>`;
}

/**
 * The request bodies of an upload, as vCD's validating parser sees them: element order, namespace
 * and required attributes count. Our own wording of the published types.
 */
const SCHEMA = `<?xml version="1.0"?>
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="${VCLOUD}"
    xmlns="${VCLOUD}" elementFormDefault="qualified">
  <xs:complexType name="Reference">
    <xs:attribute name="href" type="xs:anyURI" use="required"/>
    <xs:attribute name="id" type="xs:string"/>
    <xs:attribute name="type" type="xs:string"/>
    <xs:attribute name="name" type="xs:string"/>
  </xs:complexType>
  <xs:complexType name="Link">
    <xs:complexContent><xs:extension base="Reference">
      <xs:attribute name="rel" type="xs:string" use="required"/>
    </xs:extension></xs:complexContent>
  </xs:complexType>
  <xs:element name="UploadVAppTemplateParams">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="Description" type="xs:string" minOccurs="0"/>
        <xs:element name="VdcStorageProfile" type="Reference" minOccurs="0"/>
      </xs:sequence>
      <xs:attribute name="name" type="xs:string"/>
      <xs:attribute name="transferFormat" type="xs:string"/>
      <xs:attribute name="manifestRequired" type="xs:boolean"/>
      <xs:attribute name="sourceHref" type="xs:anyURI"/>
      <xs:anyAttribute namespace="##other" processContents="skip"/>
    </xs:complexType>
  </xs:element>
  <xs:element name="CopyOrMoveCatalogItemParams">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="Description" type="xs:string" minOccurs="0"/>
        <xs:element name="Source" type="Reference"/>
      </xs:sequence>
      <xs:attribute name="name" type="xs:string"/>
      <xs:anyAttribute namespace="##other" processContents="skip"/>
    </xs:complexType>
  </xs:element>
  <xs:element name="InstantiateOvfParams">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="Description" type="xs:string" minOccurs="0"/>
        <xs:element name="VAppParent" type="Reference" minOccurs="0"/>
        <xs:element name="InstantiationParams" minOccurs="0">
          <xs:complexType>
            <xs:sequence>
              <xs:element name="NetworkConfigSection" minOccurs="0">
                <xs:complexType>
                  <xs:sequence>
                    <xs:any namespace="##other" processContents="skip"/>
                    <xs:element name="NetworkConfig" minOccurs="0" maxOccurs="unbounded">
                      <xs:complexType>
                        <xs:sequence>
                          <xs:element name="Configuration">
                            <xs:complexType>
                              <xs:sequence>
                                <xs:element name="ParentNetwork" type="Reference" minOccurs="0"/>
                                <xs:element name="FenceMode" type="xs:string"/>
                              </xs:sequence>
                            </xs:complexType>
                          </xs:element>
                        </xs:sequence>
                        <xs:attribute name="networkName" type="xs:string" use="required"/>
                      </xs:complexType>
                    </xs:element>
                  </xs:sequence>
                </xs:complexType>
              </xs:element>
            </xs:sequence>
          </xs:complexType>
        </xs:element>
        <xs:element name="AllEULAsAccepted" type="xs:boolean" minOccurs="0"/>
        <xs:element name="RemoveNonStandardOvfExtensions" type="xs:boolean" minOccurs="0"/>
        <xs:element name="NetworkMapping" minOccurs="0" maxOccurs="unbounded">
          <xs:complexType>
            <xs:sequence>
              <xs:element name="Source" type="xs:string"/>
              <xs:element name="Target" type="xs:string"/>
            </xs:sequence>
          </xs:complexType>
        </xs:element>
      </xs:sequence>
      <xs:attribute name="name" type="xs:string"/>
      <xs:attribute name="deploy" type="xs:boolean"/>
      <xs:attribute name="powerOn" type="xs:boolean"/>
      <xs:attribute name="transferFormat" type="xs:string"/>
      <xs:anyAttribute namespace="##other" processContents="skip"/>
    </xs:complexType>
  </xs:element>
  <xs:element name="VApp" type="Entity"/>
  <xs:complexType name="Entity">
    <xs:sequence>
      <xs:element name="Link" type="Link" minOccurs="0" maxOccurs="unbounded"/>
      <xs:element name="Description" type="xs:string" minOccurs="0"/>
      <xs:any namespace="##targetNamespace" processContents="skip" minOccurs="0" maxOccurs="unbounded"/>
    </xs:sequence>
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="href" type="xs:anyURI"/>
    <xs:attribute name="type" type="xs:string"/>
    <xs:attribute name="id" type="xs:string"/>
    <xs:attribute name="operationKey" type="xs:string"/>
    <xs:attribute name="status" type="xs:int"/>
    <xs:anyAttribute namespace="##other" processContents="skip"/>
  </xs:complexType>
  <xs:element name="Media">
    <xs:complexType>
      <xs:complexContent><xs:extension base="Entity">
        <xs:attribute name="size" type="xs:long" use="required"/>
        <xs:attribute name="imageType" type="xs:string"/>
      </xs:extension></xs:complexContent>
    </xs:complexType>
  </xs:element>
  <xs:simpleType name="Seconds">
    <xs:restriction base="xs:int"><xs:minInclusive value="0"/></xs:restriction>
  </xs:simpleType>
  <xs:element name="LeaseSettingsSection">
    <xs:complexType>
      <xs:sequence>
        <xs:any namespace="##other" processContents="skip" minOccurs="0"/>
        <xs:element name="Link" type="Link" minOccurs="0" maxOccurs="unbounded"/>
        <xs:element name="DeploymentLeaseInSeconds" type="Seconds" minOccurs="0"/>
        <xs:element name="StorageLeaseInSeconds" type="Seconds" minOccurs="0"/>
        <xs:element name="DeploymentLeaseExpiration" type="xs:dateTime" minOccurs="0"/>
        <xs:element name="StorageLeaseExpiration" type="xs:dateTime" minOccurs="0"/>
      </xs:sequence>
      <xs:anyAttribute processContents="skip"/>
    </xs:complexType>
  </xs:element>
  <xs:complexType name="MetadataTypedValue" abstract="true"><xs:sequence/></xs:complexType>
${['String', 'Number', 'Boolean', 'DateTime'].map(metadataType).join('\n')}
  <xs:element name="Metadata">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="Link" type="Link" minOccurs="0" maxOccurs="unbounded"/>
        <xs:element name="MetadataEntry" minOccurs="0" maxOccurs="unbounded">
          <xs:complexType>
            <xs:sequence>
              <xs:element name="Domain" type="Domain" minOccurs="0"/>
              <xs:element name="Key" type="xs:string"/>
              <xs:choice>
                <xs:element name="Value" type="xs:string"/>
                <xs:element name="TypedValue" type="MetadataTypedValue"/>
              </xs:choice>
            </xs:sequence>
            <xs:anyAttribute processContents="skip"/>
          </xs:complexType>
        </xs:element>
      </xs:sequence>
      <xs:anyAttribute processContents="skip"/>
    </xs:complexType>
  </xs:element>
  <xs:element name="MetadataValue">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="Domain" type="Domain" minOccurs="0"/>
        <xs:choice>
          <xs:element name="Value" type="xs:string"/>
          <xs:element name="TypedValue" type="MetadataTypedValue"/>
        </xs:choice>
      </xs:sequence>
      <xs:anyAttribute processContents="skip"/>
    </xs:complexType>
  </xs:element>
  <xs:complexType name="Domain">
    <xs:simpleContent><xs:extension base="xs:string">
      <xs:attribute name="visibility" type="xs:string" use="required"/>
    </xs:extension></xs:simpleContent>
  </xs:complexType>
  <xs:element name="CatalogItem" type="Entity"/>
  <xs:element name="VAppTemplate">
    <xs:complexType>
      <xs:complexContent><xs:extension base="Entity">
        <xs:attribute name="ovfDescriptorUploaded" type="xs:boolean"/>
        <xs:attribute name="goldMaster" type="xs:boolean"/>
      </xs:extension></xs:complexContent>
    </xs:complexType>
  </xs:element>
</xs:schema>`;

let schema: libxmljs.Document | undefined;

/**
 * Parses a request body and validates it.
 *
 * @throws ApiError 400 with the parser's words
 */
export function parseRequest(body: Buffer, rootName: string): libxmljs.Element {
  const document = parseSafely(body);
  const root = document.root();
  if (root?.name() !== rootName || root.namespace()?.href() !== VCLOUD) {
    throw badRequest(
      `Bad request\n - Unexpected element ${root?.name() ?? ''}, ${rootName} expected`,
    );
  }
  schema ??= libxmljs.parseXml(SCHEMA);
  if (!document.validate(schema)) {
    const [first] = document.validationErrors;
    throw badRequest(`Bad request\n - ${String(first?.message ?? 'not valid').trim()}`);
  }
  return root;
}

/** As Java's parser does: by the byte order mark, else UTF-8. */
function decode(body: Buffer): string {
  const [a, b] = body;
  if (a === 0xff && b === 0xfe) return new TextDecoder('utf-16le').decode(body);
  if (a === 0xfe && b === 0xff) return new TextDecoder('utf-16be').decode(body);
  return new TextDecoder('utf-8').decode(body);
}

export function parseSafely(body: Buffer): libxmljs.Document {
  const text = decode(body);
  if (/<!(DOCTYPE|ENTITY)/i.test(text)) throw badRequest('Bad request\n - DOCTYPE is disallowed');
  const refuse = (message: string) => badRequest(`Bad request\n - ${message.trim()}`);
  let document: libxmljs.Document;
  try {
    document = libxmljs.parseXml(text, { nonet: true });
  } catch (error) {
    throw refuse((error as Error).message);
  }
  // A prefix that is not declared is noted by this parser, and refused by vCD's.
  const unbound = document.errors.find(({ level }) => (level ?? 0) > 1);
  if (unbound) throw refuse(unbound.message);
  return document;
}

export function attributeOf(element: libxmljs.Element, name: string): string | undefined {
  return element.attr(name)?.value();
}

/** An element of a request body. */
export type RequestElement = libxmljs.Element;

export function childElements(parent: RequestElement, name: string): RequestElement[] {
  return parent
    .childNodes()
    .filter((node) => node.type() === 'element')
    .map((node) => node as RequestElement)
    .filter((child) => child.name() === name);
}

export function childText(parent: RequestElement, name: string): string | undefined {
  return childElements(parent, name)[0]?.text();
}

/** The text of the first element, or the value of the first attribute, at a path. */
export function textAt(
  root: RequestElement,
  path: string,
  namespaces: Readonly<Record<string, string>>,
): string | undefined {
  const [found] = root.find(path, namespaces) as (libxmljs.Element | libxmljs.Attribute)[];
  if (!found) return undefined;
  return ('value' in found ? found.value() : found.text()).trim();
}
