package registrytest

import (
	"encoding/json"

	"berth/oci"
	"berth/registry"
)

// A document is a manifest to be written as JSON.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *oci.Descriptor   `json:"config,omitempty"`
	Layers        []oci.Descriptor  `json:"layers,omitempty"`
	Manifests     []oci.Descriptor  `json:"manifests,omitempty"`
	Subject       *oci.Descriptor   `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// blob pushes data and describes it.
func (c *client) blob(name oci.Name, mediaType string, data []byte) oci.Descriptor {
	c.Helper()
	c.pushBlob(name, data)
	return describe(mediaType, data)
}

func describe(mediaType string, data []byte) oci.Descriptor {
	return oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(oci.SHA256, data), Size: int64(len(data))}
}

// imageDocument pushes a config and a layer that differ with the note, and
// returns the image made of them.
func (c *client) imageDocument(name oci.Name, note string) document {
	c.Helper()
	config := c.blob(name, configType, []byte(`{"note":"`+note+`"}`))
	layer := c.blob(name, layerType, []byte("layer of "+note))
	return document{MediaType: oci.MediaTypeManifest, Config: &config, Layers: []oci.Descriptor{layer}}
}

func (c *client) image(name oci.Name, note string) registry.ManifestContent {
	c.Helper()
	return c.manifest(c.imageDocument(name, note))
}

func (c *client) index(children ...oci.Descriptor) registry.ManifestContent {
	c.Helper()
	return c.manifest(document{MediaType: oci.MediaTypeIndex, Manifests: children})
}

// referrer returns a manifest that refers to subject.
func (c *client) referrer(name oci.Name, subject oci.Descriptor, artifactType, note string) registry.ManifestContent {
	c.Helper()
	empty := c.blob(name, "application/vnd.oci.empty.v1+json", []byte("{}"))
	return c.manifest(document{
		MediaType:    oci.MediaTypeManifest,
		ArtifactType: artifactType,
		Config:       &empty,
		Layers:       []oci.Descriptor{empty},
		Subject:      &subject,
		Annotations:  map[string]string{"note": note},
	})
}

// manifest returns doc as it is pushed.
func (c *client) manifest(doc document) registry.ManifestContent {
	c.Helper()
	doc.SchemaVersion = 2
	data, err := json.MarshalIndent(doc, "", "   ")
	if err != nil {
		c.Fatal(err)
	}
	m, err := oci.ParseManifest(doc.MediaType, data)
	if err != nil {
		c.Fatal(err)
	}
	return registry.ManifestContent{Manifest: m, Digest: oci.DigestOf(oci.SHA256, data), Bytes: data}
}

// descriptor returns what points at m.
func descriptor(m registry.ManifestContent) oci.Descriptor {
	return oci.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Bytes))}
}
