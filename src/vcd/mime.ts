/** What request and answer bodies are, and the namespace they are in. Compared without case. */
export const MIME = {
  template: 'application/vnd.vmware.vcloud.vAppTemplate+xml',
  templateParams: 'application/vnd.vmware.vcloud.uploadVAppTemplateParams+xml',
  media: 'application/vnd.vmware.vcloud.media+xml',
  org: 'application/vnd.vmware.vcloud.org+xml',
  vApp: 'application/vnd.vmware.vcloud.vApp+xml',
  instantiateOvf: 'application/vnd.vmware.vcloud.instantiateOvfParams+xml',
  vdc: 'application/vnd.vmware.vcloud.vdc+xml',
  catalogItem: 'application/vnd.vmware.vcloud.catalogItem+xml',
  catalog: 'application/vnd.vmware.vcloud.catalog+xml',
  copyOrMove: 'application/vnd.vmware.vcloud.copyOrMoveCatalogItemParams+xml',
  lease: 'application/vnd.vmware.vcloud.leaseSettingsSection+xml',
  metadata: 'application/vnd.vmware.vcloud.metadata+xml',
} as const;

export const OVF = 'http://schemas.dmtf.org/ovf/envelope/1';
export const VCLOUD = 'http://www.vmware.com/vcloud/v1.5';
