package main

import (
	"time"

	"berth/auth"
)

// storageConfig is the section storage: one driver, and what goes for all.
type storageConfig struct {
	Filesystem *filesystemConfig `yaml:"filesystem,omitempty"`
	Inmemory   *struct{}         `yaml:"inmemory,omitempty"`
	S3         *s3Config         `yaml:"s3,omitempty" config:"later"`
	S3AWS      *s3Config         `yaml:"s3aws,omitempty" config:"later"`
	GCS        *gcsConfig        `yaml:"gcs,omitempty" config:"later"`
	Azure      *azureConfig      `yaml:"azure,omitempty" config:"later"`
	Swift      *anyConfig        `yaml:"swift,omitempty" config:"never"`
	OSS        *anyConfig        `yaml:"oss,omitempty" config:"never"`

	Delete struct {
		Enabled bool `yaml:"enabled"`
	} `yaml:"delete"`
	Redirect struct {
		Disable bool `yaml:"disable,omitempty"`
	} `yaml:"redirect,omitempty"`
	// Cache is accepted and of no use: the database answers.
	Cache struct {
		BlobDescriptor     string `yaml:"blobdescriptor,omitempty"`
		BlobDescriptorSize int    `yaml:"blobdescriptorsize,omitempty"`
		LayerInfo          string `yaml:"layerinfo,omitempty"`
	} `yaml:"cache,omitempty"`
	// Tag is accepted and of no use: tags are not searched one file at a time.
	Tag struct {
		ConcurrencyLimit int `yaml:"concurrencylimit,omitempty"`
	} `yaml:"tag,omitempty"`
	Maintenance struct {
		UploadPurging *struct {
			Enabled  bool          `yaml:"enabled"`
			Age      time.Duration `yaml:"age,omitempty"`
			Interval time.Duration `yaml:"interval,omitempty"`
			DryRun   bool          `yaml:"dryrun,omitempty"`
		} `yaml:"uploadpurging,omitempty"`
		ReadOnly struct {
			Enabled bool `yaml:"enabled"`
		} `yaml:"readonly"`
	} `yaml:"maintenance"`
}

// drivers holds the keys of storageConfig that name a driver.
var drivers = [...]string{"filesystem", "inmemory", "s3", "s3aws", "gcs", "azure", "swift", "oss"}

type filesystemConfig struct {
	RootDirectory string `yaml:"rootdirectory"`
	// MaxThreads is accepted and of no use: the runtime bounds its threads.
	MaxThreads int `yaml:"maxthreads,omitempty"`
}

// anyConfig is a section whose keys are not looked at.
type anyConfig map[string]any

// s3Config has the parameters of Distribution's driver s3.
type s3Config struct {
	AccessKey                   auth.Secret `yaml:"accesskey,omitempty"`
	SecretKey                   auth.Secret `yaml:"secretkey,omitempty"`
	SessionToken                auth.Secret `yaml:"sessiontoken,omitempty"`
	Region                      string      `yaml:"region,omitempty"`
	RegionEndpoint              string      `yaml:"regionendpoint,omitempty"`
	RedirectEndpoint            string      `yaml:"redirectendpoint,omitempty"`
	ForcePathStyle              *bool       `yaml:"forcepathstyle,omitempty"`
	Bucket                      string      `yaml:"bucket,omitempty"`
	Encrypt                     bool        `yaml:"encrypt,omitempty"`
	KeyID                       string      `yaml:"keyid,omitempty"`
	Secure                      *bool       `yaml:"secure,omitempty"`
	SkipVerify                  bool        `yaml:"skipverify,omitempty"`
	V4Auth                      *bool       `yaml:"v4auth,omitempty"`
	ChunkSize                   int64       `yaml:"chunksize,omitempty"`
	MultipartCopyChunkSize      int64       `yaml:"multipartcopychunksize,omitempty"`
	MultipartCopyMaxConcurrency int64       `yaml:"multipartcopymaxconcurrency,omitempty"`
	MultipartCopyThresholdSize  int64       `yaml:"multipartcopythresholdsize,omitempty"`
	RootDirectory               string      `yaml:"rootdirectory,omitempty"`
	StorageClass                string      `yaml:"storageclass,omitempty"`
	ObjectACL                   string      `yaml:"objectacl,omitempty"`
	UserAgent                   string      `yaml:"useragent,omitempty"`
	UseDualStack                bool        `yaml:"usedualstack,omitempty"`
	Accelerate                  bool        `yaml:"accelerate,omitempty"`
	UseFIPSEndpoint             bool        `yaml:"usefipsendpoint,omitempty"`
	LogLevel                    string      `yaml:"loglevel,omitempty"`
	LogS3APIRequests            bool        `yaml:"logs3apirequests,omitempty"`
	LogS3APIResponseHeaders     any         `yaml:"logs3apiresponseheaders,omitempty"`
}

type gcsConfig struct {
	Bucket  string `yaml:"bucket,omitempty"`
	KeyFile string `yaml:"keyfile,omitempty"`
	// Credentials are those of a service account, as its key file has them.
	Credentials    map[string]auth.Secret `yaml:"credentials,omitempty"`
	RootDirectory  string                 `yaml:"rootdirectory,omitempty"`
	ChunkSize      int64                  `yaml:"chunksize,omitempty"`
	UserAgent      string                 `yaml:"useragent,omitempty"`
	MaxConcurrency int                    `yaml:"maxconcurrency,omitempty"`
}

type azureConfig struct {
	AccountName      string      `yaml:"accountname,omitempty"`
	AccountKey       auth.Secret `yaml:"accountkey,omitempty"`
	ConnectionString auth.Secret `yaml:"connectionstring,omitempty"`
	Container        string      `yaml:"container,omitempty"`
	Credentials      struct {
		Type     string      `yaml:"type,omitempty"`
		ClientID string      `yaml:"clientid,omitempty"`
		TenantID string      `yaml:"tenantid,omitempty"`
		Secret   auth.Secret `yaml:"secret,omitempty"`
	} `yaml:"credentials,omitempty"`
	Realm           string        `yaml:"realm,omitempty"`
	ServiceURL      string        `yaml:"serviceurl,omitempty"`
	RootDirectory   string        `yaml:"rootdirectory,omitempty"`
	MaxRetries      int           `yaml:"max_retries,omitempty"`
	RetryDelay      time.Duration `yaml:"retry_delay,omitempty"`
	SkipVerify      bool          `yaml:"skipverify,omitempty"`
	CopyStatusRetry any           `yaml:"copy_status_poll_max_retry,omitempty"`
	CopyStatusDelay any           `yaml:"copy_status_poll_delay,omitempty"`
}

// storageDriver names the driver.
func (c *Config) storageDriver() string {
	if c.Storage.Inmemory != nil {
		return "inmemory"
	}
	return "filesystem"
}
