"""Send one mail to operators, at once: who calls keeps the rows, and tries again."""

from __future__ import annotations

from collections.abc import Sequence

from tracker.domain.errors import CredentialsRejected, RateLimited, Refused, Transient
from tracker.domain.mails import masked_address
from tracker.pipeline.context import AppContext
from tracker.pipeline.mails import letter, server


def to_operators(
    ctx: AppContext, to: Sequence[str], subject: str, text: str, *, key: str, html: str | None = None
) -> None:
    """Send a mail to each of these addresses. `key` says what it tells: sent again, it has the same Message-ID.

    Neither quiet hours nor the mails of customers, which may be many, hold it. Raises Refused where nobody may be mailed, or one of the addresses is refused for ever (the others have it);
    RateLimited and Transient where it may be sent later; CredentialsRejected where the server refuses our login or sender, of which a
    finding tells.
    """
    mail, open_mailer = ctx.config.root.mail, ctx.mailer
    if mail is None or open_mailer is None:
        raise Refused("no mail: is configured, so no mail can be sent")
    letters = [
        letter.write(
            sender=mail.sender, reply_to=mail.reply_to, to=one, subject=subject, text=text, html=html,
            key=f"{key}/{one}", at=ctx.now(),
        )
        for one in dict.fromkeys(to)
    ]  # fmt: skip
    with ctx.store.write() as connection:
        given = server.take(ctx, connection, mail, len(letters), at_once=True)
    if not given.count:
        raise RateLimited("the mail server is suspended, or rests")
    refused, later = [], []
    try:
        with open_mailer(mail) as session:
            for one in letters:
                try:
                    session.send(one.message, one.sender, one.recipient, utf8=one.utf8)
                except RateLimited as error:
                    later.append(str(error))
                except Refused as error:
                    refused.append(f"{masked_address(one.recipient)}: {error}")
    except CredentialsRejected as error:
        server.suspend(ctx, mail, None, str(error))
        raise
    except Transient as error:
        server.fails(ctx, mail, str(error))
        raise
    server.answers(ctx)
    if later:
        raise RateLimited("; ".join(later))
    if refused:
        raise Refused("; ".join(refused))
