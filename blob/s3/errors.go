package s3

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"berth/blob"
	"berth/blob/bucket"
)

// meanings are the errors of a Store by the codes of answers, those of other
// stores than Amazon's included. HEAD has no code but NotFound.
var meanings = map[string]error{
	"NoSuchKey":                      blob.ErrNotExist,
	"NotFound":                       blob.ErrNotExist,
	"PreconditionFailed":             bucket.ErrExists, // of what makes an object
	"NoSuchUpload":                   blob.ErrStale,
	"InvalidPart":                    blob.ErrStale,
	"InvalidPartOrder":               blob.ErrStale,
	"EntityTooLarge":                 blob.ErrTooLarge,
	"InsufficientStorage":            blob.ErrNoSpace,
	"QuotaExceeded":                  blob.ErrNoSpace,
	"StorageFull":                    blob.ErrNoSpace,
	"XMinioStorageFull":              blob.ErrNoSpace,
	"XMinioAdminBucketQuotaExceeded": blob.ErrNoSpace,
}

// codeOf returns the code of an answer, "" when err is none.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// statusOf returns the status of an answer, 0 when err is none.
func statusOf(err error) int {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// translate adds what err, of a request, means to a Store, nil if it is none.
func translate(err error) error {
	if err == nil {
		return nil
	}
	meaning := meanings[codeOf(err)]
	if meaning == nil && statusOf(err) == http.StatusInsufficientStorage {
		meaning = blob.ErrNoSpace
	}
	if meaning == nil {
		return err
	}
	return fmt.Errorf("%w: %w", meaning, err)
}
