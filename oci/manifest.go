package oci

import (
	"encoding/json"
	"iter"
	"mime"
	"strings"
)

// Media types of manifests. Each is stored and served as it came.
const (
	MediaTypeManifest     = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeIndex        = "application/vnd.oci.image.index.v1+json"
	MediaTypeDocker       = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList   = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDocker1      = "application/vnd.docker.distribution.manifest.v1+json"
	mediaTypeDocker1JWS   = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	MediaTypeOctetStream  = "application/octet-stream"
	mediaTypeNotTelling   = "application/json"
	schemaVersionExpected = 2
)

// Limits of a manifest.
const (
	MaxManifestSize  = 4 << 20 // bytes
	MaxManifestDepth = 64      // objects and arrays inside each other
	MaxDescriptors   = 10_000  // layers, or children
)

// A Descriptor points at content. Image specification, "Content descriptors".
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       Digest            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
}

// A Platform is what an entry of an index runs on.
type Platform struct {
	Architecture string   `json:"architecture,omitempty"`
	OS           string   `json:"os,omitempty"`
	OSVersion    string   `json:"os.version,omitempty"`
	OSFeatures   []string `json:"os.features,omitempty"`
	Variant      string   `json:"variant,omitempty"`
}

// A Manifest is what berth needs to know of an image manifest, an index, or
// their Docker counterparts. The bytes that were parsed are what is stored.
type Manifest struct {
	MediaType    string
	ArtifactType string // artifactType, or of an image the media type of its config
	Config       *Descriptor
	Layers       []Descriptor
	Manifests    []Descriptor // children of an index; BuildKit's caches name blobs here
	Subject      *Descriptor
	Annotations  map[string]string
}

// IsIndex reports whether mediaType is that of an index or a manifest list.
func IsIndex(mediaType string) bool {
	return mediaType == MediaTypeIndex || mediaType == MediaTypeDockerList
}

// IsManifest reports whether mediaType is one that ParseManifest accepts.
func IsManifest(mediaType string) bool {
	return IsIndex(mediaType) || mediaType == MediaTypeManifest || mediaType == MediaTypeDocker
}

// document is a manifest of any kind as JSON.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *Descriptor       `json:"config"`
	Layers        *[]Descriptor     `json:"layers"`
	Manifests     *[]Descriptor     `json:"manifests"`
	Subject       *Descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// ParseManifest parses data, which came with contentType; an empty one, or
// application/json, leaves the choice to the document's own mediaType.
//
// It is strict, because what two readers could understand differently has been
// a way to smuggle content past one of them (CVE-2021-41190): no key twice, no
// key of the specification in another case, no layers beside manifests, no
// second media type, nothing behind the end. Errors are of code ManifestInvalid.
func ParseManifest(contentType string, data []byte) (*Manifest, error) {
	if len(data) > MaxManifestSize {
		return nil, invalid("manifest is larger than %d bytes", MaxManifestSize)
	}
	if err := checkJSON(data); err != nil {
		return nil, err
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, invalid("manifest: %s", describeJSON(err))
	}
	mediaType, err := d.mediaType(contentType)
	if err != nil {
		return nil, err
	}
	if d.SchemaVersion != schemaVersionExpected {
		return nil, invalid("schemaVersion must be %d", schemaVersionExpected)
	}
	m := &Manifest{
		MediaType:    mediaType,
		ArtifactType: d.ArtifactType,
		Config:       d.Config,
		Subject:      d.Subject,
		Annotations:  d.Annotations,
	}
	if err := m.fill(&d); err != nil {
		return nil, err
	}
	return m, m.check()
}

// mediaType settles what the document is. Whatever of contentType, mediaType
// and the document's shape is given must agree.
func (d *document) mediaType(contentType string) (string, error) {
	said := contentType
	if parsed, _, err := mime.ParseMediaType(contentType); err == nil {
		said = parsed
	}
	if said == mediaTypeNotTelling {
		said = ""
	}
	switch {
	case said == "" && d.MediaType != "":
		said = d.MediaType
	case said == "" && d.Manifests != nil:
		said = MediaTypeIndex
	case said == "":
		said = MediaTypeManifest
	}
	if d.MediaType != "" && d.MediaType != said {
		return "", invalid("Content-Type %q does not match mediaType %q", said, d.MediaType)
	}
	switch {
	case said == mediaTypeDocker1, said == mediaTypeDocker1JWS:
		return "", invalid("Docker schema 1 is not supported: push again with a client of 2017 or later")
	case !IsManifest(said):
		return "", invalid("media type %q is not that of a manifest", said)
	case d.MediaType == "" && strings.HasPrefix(said, "application/vnd.docker."):
		return "", invalid("a Docker manifest must state its mediaType")
	}
	return said, nil
}

func (m *Manifest) fill(d *document) error {
	if IsIndex(m.MediaType) {
		if d.Config != nil || d.Layers != nil {
			return invalid("an index must not have config or layers")
		}
		if d.Manifests == nil {
			return invalid("an index must have manifests")
		}
		m.Manifests = *d.Manifests
		return nil
	}
	if d.Manifests != nil {
		return invalid("an image manifest must not have manifests")
	}
	if d.Config == nil {
		return invalid("an image manifest must have a config")
	}
	if d.Layers == nil {
		return invalid("an image manifest must have layers")
	}
	m.Layers = *d.Layers
	if m.ArtifactType == "" {
		m.ArtifactType = m.Config.MediaType
	}
	return nil
}

func (m *Manifest) check() error {
	for what, d := range m.descriptors() {
		if err := d.check(what); err != nil {
			return err
		}
	}
	return nil
}

// descriptors returns all that the manifest points at, and what each is to it.
func (m *Manifest) descriptors() iter.Seq2[string, *Descriptor] {
	return func(yield func(string, *Descriptor) bool) {
		if m.Config != nil && !yield("config", m.Config) || m.Subject != nil && !yield("subject", m.Subject) {
			return
		}
		for i := range m.Layers {
			if !yield("layer", &m.Layers[i]) {
				return
			}
		}
		for i := range m.Manifests {
			if !yield("entry of manifests", &m.Manifests[i]) {
				return
			}
		}
	}
}

func (d *Descriptor) check(what string) error {
	if _, err := ParseDigest(string(d.Digest)); err != nil {
		return invalid("%s: digest is not valid", what)
	}
	if d.Size < 0 {
		return invalid("%s: size is negative", what)
	}
	if d.MediaType == "" {
		return invalid("%s: mediaType is missing", what)
	}
	return nil
}

func invalid(format string, args ...any) *Error { return Errorf(ManifestInvalid, format, args...) }
