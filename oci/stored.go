package oci

import "encoding/json"

// ParseStored parses a manifest that another registry has taken and serves. It
// says of it what ParseManifest would, but takes what that one is too strict
// for: keys that are given twice or in another case, descriptors without a media
// type, an image without a config or without layers. What is not known to be an
// image or an index is refused all the same. Errors are of code ManifestInvalid.
func ParseStored(data []byte) (*Manifest, error) {
	if len(data) > MaxManifestSize {
		return nil, invalid("manifest is larger than %d bytes", MaxManifestSize)
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, invalid("manifest: %s", describeJSON(err))
	}
	if d.SchemaVersion == 1 {
		d.MediaType = mediaTypeDocker1
	}
	mediaType, err := d.mediaType(d.MediaType)
	if err != nil {
		return nil, err
	}
	if d.SchemaVersion != schemaVersionExpected {
		return nil, invalid("schemaVersion must be %d", schemaVersionExpected)
	}
	m := &Manifest{MediaType: mediaType, ArtifactType: d.ArtifactType, Config: d.Config, Subject: d.Subject, Annotations: d.Annotations}
	if d.Layers != nil {
		m.Layers = *d.Layers
	}
	if d.Manifests != nil {
		m.Manifests = *d.Manifests
	}
	if IsIndex(mediaType) && len(m.Layers) > 0 || !IsIndex(mediaType) && len(m.Manifests) > 0 {
		return nil, invalid("manifest has layers and manifests")
	}
	if IsIndex(mediaType) {
		m.Config = nil
	} else if m.ArtifactType == "" && m.Config != nil {
		m.ArtifactType = m.Config.MediaType
	}
	for what, d := range m.descriptors() {
		if _, err := ParseDigest(string(d.Digest)); err != nil {
			return nil, invalid("%s: digest is not valid", what)
		}
	}
	return m, nil
}
