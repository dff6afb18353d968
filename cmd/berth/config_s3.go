package main

import (
	"fmt"
	"log/slog"
	"strings"

	"berth/auth"
	"berth/blob/bucket"
	"berth/blob/s3"
)

// s3Config has the parameters of Distribution's driver s3.
type s3Config struct {
	AccessKey        auth.Secret `yaml:"accesskey,omitempty"`
	SecretKey        auth.Secret `yaml:"secretkey,omitempty"`
	SessionToken     auth.Secret `yaml:"sessiontoken,omitempty"`
	Region           string      `yaml:"region,omitempty"`
	RegionEndpoint   string      `yaml:"regionendpoint,omitempty"`
	RedirectEndpoint string      `yaml:"redirectendpoint,omitempty"`
	// ForcePathStyle is true where there is a RegionEndpoint, unless it is given:
	// that is what version 2.8 does.
	ForcePathStyle *bool  `yaml:"forcepathstyle,omitempty"`
	Bucket         string `yaml:"bucket,omitempty"`
	Encrypt        bool   `yaml:"encrypt,omitempty"`
	KeyID          string `yaml:"keyid,omitempty"`
	Secure         *bool  `yaml:"secure,omitempty"`
	SkipVerify     bool   `yaml:"skipverify,omitempty"`
	V4Auth         *bool  `yaml:"v4auth,omitempty"`
	ChunkSize      int64  `yaml:"chunksize,omitempty"`
	// What says how to copy is accepted and of no use: nothing is copied.
	MultipartCopyChunkSize      int64  `yaml:"multipartcopychunksize,omitempty"`
	MultipartCopyMaxConcurrency int64  `yaml:"multipartcopymaxconcurrency,omitempty"`
	MultipartCopyThresholdSize  int64  `yaml:"multipartcopythresholdsize,omitempty"`
	RootDirectory               string `yaml:"rootdirectory,omitempty"`
	StorageClass                string `yaml:"storageclass,omitempty"`
	ObjectACL                   string `yaml:"objectacl,omitempty"`
	UserAgent                   string `yaml:"useragent,omitempty"`
	UseDualStack                bool   `yaml:"usedualstack,omitempty"`
	Accelerate                  bool   `yaml:"accelerate,omitempty"`
	UseFIPSEndpoint             bool   `yaml:"usefipsendpoint,omitempty"`
	// LogLevel logs requests, whatever it says but off. Of their answers the ID
	// is logged, and not what LogS3APIResponseHeaders names.
	LogLevel                string `yaml:"loglevel,omitempty"`
	LogS3APIRequests        bool   `yaml:"logs3apirequests,omitempty"`
	LogS3APIResponseHeaders any    `yaml:"logs3apiresponseheaders,omitempty"`
}

// s3 returns the section of the driver and its key, nil where it is another one.
func (c *Config) s3() (section *s3Config, key string) {
	if c.Storage.S3AWS != nil {
		return c.Storage.S3AWS, "storage.s3aws"
	}
	return c.Storage.S3, "storage.s3"
}

func (s *s3Config) options(log *slog.Logger) s3.Options {
	o := s3.Options{
		Bucket: s.Bucket, Region: s.Region, Endpoint: s.RegionEndpoint, RedirectEndpoint: s.RedirectEndpoint,
		PathStyle: s.RegionEndpoint != "", PlainHTTP: s.Secure != nil && !*s.Secure, SkipVerify: s.SkipVerify,
		AccessKey: s.AccessKey, SecretKey: s.SecretKey, SessionToken: s.SessionToken,
		RootDirectory: s.RootDirectory, PartSize: int(min(s.ChunkSize, bucket.MaxPart)),
		Encrypt: s.Encrypt, KeyID: s.KeyID, StorageClass: s.StorageClass, ACL: s.ObjectACL,
		UserAgent: s.UserAgent, Accelerate: s.Accelerate, DualStack: s.UseDualStack, FIPS: s.UseFIPSEndpoint,
		LogRequests: s.LogS3APIRequests || s.LogLevel != "" && !strings.EqualFold(s.LogLevel, "off"), Log: log,
	}
	if s.ForcePathStyle != nil {
		o.PathStyle = *s.ForcePathStyle
	}
	if strings.EqualFold(o.StorageClass, "NONE") { // as Distribution has it
		o.StorageClass = ""
	}
	return o
}

func (s *s3Config) check(key string, add func(path, format string, args ...any)) {
	o := s.options(nil)
	if err := o.Check(); err != nil {
		add(key, "%v", err)
	}
	if s.V4Auth != nil && !*s.V4Auth {
		add(key+".v4auth", "berth signs with version 4 alone: leave it out")
	}
}

func (s *s3Config) warnings(key string) (warnings []string) {
	if s.ChunkSize > bucket.MaxPart {
		warnings = append(warnings, fmt.Sprintf("%s.chunksize: %d is used, to bound the memory of an upload", key, bucket.MaxPart))
	}
	if s.SkipVerify {
		warnings = append(warnings, key+".skipverify: whoever is in between can read and change what is stored")
	}
	return warnings
}
