package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"berth/blob"
)

// An apiError is an answer that refuses a request.
type apiError struct {
	status int
	code   string
}

func (e *apiError) Error() string {
	if e.code == "" {
		return fmt.Sprintf("the store answers %d", e.status)
	}
	return fmt.Sprintf("the store answers %d: %s", e.status, e.code)
}

// Is says what an answer means to a Store. That there is no container is not
// that there is no blob.
func (e *apiError) Is(target error) bool {
	switch target {
	case blob.ErrNotExist:
		return e.code == string(bloberror.BlobNotFound)
	case blob.ErrNoSpace:
		return e.status == http.StatusInsufficientStorage
	}
	return false
}

// plain returns err, of a request, in one line, and without addresses and
// bodies, which may hold secrets.
func plain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return &apiError{answer.StatusCode, answer.ErrorCode}
	}
	var login *azidentity.AuthenticationFailedError
	if errors.As(err, &login) {
		if login.RawResponse != nil {
			return fmt.Errorf("log in at Microsoft Entra: it answers %d", login.RawResponse.StatusCode)
		}
		return errors.New("log in at Microsoft Entra: no credentials of this machine were accepted")
	}
	var address *url.Error
	for errors.As(err, &address) {
		err = address.Err
	}
	if text := err.Error(); strings.Contains(text, "\n") {
		return errors.New(strings.Join(strings.Fields(text), " "))
	}
	return err
}
