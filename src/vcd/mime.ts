/** What request and answer bodies are, and the namespace they are in. Compared without case. */
export const MIME = {
  template: 'application/vnd.vmware.vcloud.vAppTemplate+xml',
  templateParams: 'application/vnd.vmware.vcloud.uploadVAppTemplateParams+xml',
  media: 'application/vnd.vmware.vcloud.media+xml',
  catalog: 'application/vnd.vmware.vcloud.catalog+xml',
  lease: 'application/vnd.vmware.vcloud.leaseSettingsSection+xml',
  metadata: 'application/vnd.vmware.vcloud.metadata+xml',
} as const;

export const OVF = 'http://schemas.dmtf.org/ovf/envelope/1';
export const VCLOUD = 'http://www.vmware.com/vcloud/v1.5';
