//! What is said to a telephone, in both languages: the one table from which the voice is rendered when the server is built.
//!
//! `build.rs` reads this file too, so it uses nothing but the language itself. Not here: when what is said (`telephone::call`).
//! The words are neutral, because whoever stands beside the telephone or owns the mailbox hears them: no name, no specialty, no
//! reason for the call. A practice that wants its own name said puts its own recordings in their place (`prompts_dir`).

/// One sentence or a few in both languages.
#[derive(Clone, Copy)]
pub struct Words {
    /// French.
    pub fr: &'static str,
    /// English.
    pub en: &'static str,
}

macro_rules! prompts {
    ($($(#[$doc:meta])* $prompt:ident $name:literal $fr:literal $en:literal)*) => {
        /// Something that can be said.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Prompt {
            $($(#[$doc])* $prompt,)*
        }

        impl Prompt {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$prompt,)*];

            /// Its name, which its file has too.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$prompt => $name,)*
                }
            }

            /// What is said.
            #[must_use]
            pub const fn words(self) -> Words {
                match self {
                    $(Self::$prompt => Words { fr: $fr, en: $en },)*
                }
            }
        }
    };
}

prompts! {
    /// Who this is, neutrally, and: your PIN, then hash.
    AskPin "ask_pin"
    "Bonjour. Vous êtes sur la ligne de votre rendez-vous. Tapez votre code, puis la touche dièse."
    "Hello. This is the line for your appointment. Please enter your code, then press hash."

    /// Where the PIN stands, and how to begin again.
    HelpPin "help_pin"
    "Votre code est à côté du numéro que vous avez appelé. Tapez-le, puis la touche dièse. Pour recommencer, étoile."
    "Your code is next to the number that you called. Enter it, then press hash. To start again, press star."

    /// That was not right: again.
    PinWrong "pin_wrong"
    "Ce code n'est pas le bon. Tapez-le de nouveau, puis la touche dièse."
    "This code is not right. Please enter it again, then press hash."

    /// That was not right: call the practice. Goodbye.
    PinWrongLast "pin_wrong_last"
    "Ce code n'est pas le bon. Veuillez appeler votre cabinet. Au revoir."
    "This code is not right. Please call your practice. Goodbye."

    /// Nothing was typed. Goodbye.
    NothingTyped "nothing_typed"
    "Nous n'avons reçu aucun code. Vous pouvez rappeler quand vous voulez. Au revoir."
    "We have not received a code. You can call again at any time. Goodbye."

    /// To a telephone that we called: to join, press 1.
    Confirm "confirm"
    "Bonjour. Nous vous appelons pour votre rendez-vous. Pour participer, appuyez sur la touche un."
    "Hello. We are calling you for your appointment. To join, press one."

    /// No key was pressed. Goodbye.
    NotConfirmed "not_confirmed"
    "Vous n'avez appuyé sur aucune touche. Au revoir."
    "You have not pressed a key. Goodbye."

    /// Consent: 1 to accept, 2 to refuse.
    AskConsent "ask_consent"
    "Acceptez-vous ce rendez-vous par téléphone ? Pour oui, appuyez sur un. Pour non, appuyez sur deux."
    "Do you accept this appointment by telephone? For yes, press one. For no, press two."

    /// The telephone network is not encrypted as the page is: said once, before what is private.
    NotPrivate "not_private"
    "Au téléphone, la conversation n'est pas chiffrée comme sur Internet."
    "On the telephone, the conversation is not encrypted as it is on the internet."

    /// You are in the waiting room.
    Waiting "waiting"
    "Merci. Votre arrivée est annoncée. Restez en ligne, on va vous répondre."
    "Thank you. Your arrival has been announced. Please stay on the line, you will be answered."

    /// Still there: please wait.
    StillWaiting "still_waiting"
    "Merci de patienter. On ne vous oublie pas."
    "Thank you for waiting. You have not been forgotten."

    /// You are in, and nobody is there yet.
    Alone "alone"
    "Il n'y a encore personne. Restez en ligne."
    "Nobody else is here yet. Please stay on the line."

    /// You are in the waiting room, and the practitioner has not come yet.
    HostAbsent "host_absent"
    "Votre praticien n'est pas encore là. Restez en ligne."
    "Your practitioner is not here yet. Please stay on the line."

    /// You are in; nothing is recorded.
    Admitted "admitted"
    "Vous pouvez parler. Rien n'est enregistré."
    "You can speak now. Nothing is recorded."

    /// Professionals speak apart.
    Apart "apart"
    "Un instant. Les professionnels parlent entre eux. Restez en ligne."
    "One moment. The professionals are talking among themselves. Please stay on the line."

    /// End-to-end encryption is off while a telephone takes part.
    EncryptionEnds "encryption_ends"
    "Le téléphone met fin au chiffrement de la conversation. Votre praticien doit l'accepter. Restez en ligne."
    "The telephone ends the encryption of this conversation. Your practitioner has to agree. Please stay on the line."

    /// This one cannot be joined by telephone. Goodbye.
    EncryptionRequired "encryption_required"
    "Ce rendez-vous est chiffré de bout en bout. On ne peut pas y participer par téléphone. Au revoir."
    "This appointment is encrypted end to end. It cannot be joined by telephone. Goodbye."

    /// The keys.
    Help "help"
    "Pour couper ou remettre votre micro, étoile six. Pour demander la parole, étoile neuf. Pour quitter, deux fois dièse."
    "To mute or unmute yourself, star six. To raise your hand, star nine. To leave, hash twice."

    /// You cannot be heard now.
    Muted "muted"
    "Micro coupé. On ne vous entend plus."
    "You are muted. Nobody can hear you."

    /// You can be heard.
    Unmuted "unmuted"
    "On vous entend de nouveau."
    "You can be heard again."

    /// Your hand is up.
    HandUp "hand_up"
    "Vous avez demandé la parole."
    "Your hand is raised."

    /// Your hand is down.
    HandDown "hand_down"
    "Vous ne demandez plus la parole."
    "Your hand is down."

    /// It is over. Goodbye.
    Over "over"
    "Le rendez-vous est terminé. Au revoir."
    "The appointment is over. Goodbye."

    /// Not let in, or let out. Goodbye.
    Removed "removed"
    "Vous ne pouvez pas participer à ce rendez-vous. Veuillez appeler votre cabinet. Au revoir."
    "You cannot take part in this appointment. Please call your practice. Goodbye."

    /// You have refused. Goodbye.
    Declined "declined"
    "Vous avez refusé. Pour un autre rendez-vous, veuillez appeler votre cabinet. Au revoir."
    "You have refused. For another appointment, please call your practice. Goodbye."

    /// Every line is in use. Goodbye.
    LinesBusy "lines_busy"
    "Toutes les lignes sont occupées. Veuillez rappeler dans quelques minutes. Au revoir."
    "All lines are busy. Please call again in a few minutes. Goodbye."

    /// As long as a call may last. Goodbye.
    TimeUp "time_up"
    "Cet appel a atteint la durée permise. Au revoir."
    "This call has lasted as long as it may. Goodbye."

    /// The server stops: from here or there, there will be another call. Goodbye.
    Draining "draining"
    "La ligne va être coupée. Rappelez dans quelques minutes, votre code reste valable. Au revoir."
    "The line will now be cut. Please call again in a few minutes, your code stays valid. Goodbye."

    /// Something is broken here. Goodbye.
    Fault "fault"
    "Un problème technique nous empêche de continuer. Veuillez appeler votre cabinet. Au revoir."
    "A technical problem prevents us from going on. Please call your practice. Goodbye."

    /// Goodbye.
    Goodbye "goodbye"
    "Au revoir."
    "Goodbye."

    /// A call that only shows that calls work.
    SelfTest "self_test"
    "Ceci est un appel d'essai. Si vous entendez cette phrase, la ligne fonctionne. Au revoir."
    "This is a test call. If you hear this sentence, the line works. Goodbye."

    /// To who tries a line alone: speak, you will hear yourself.
    EchoBegins "echo_begins"
    "Ceci est un essai de votre ligne. Parlez après cette phrase : vous allez vous entendre. Rien n'est enregistré."
    "This is a test of your line. Speak after this sentence: you will hear yourself. Nothing is recorded."

    /// You were heard. Goodbye.
    EchoHeard "echo_heard"
    "Nous vous avons entendu. Votre ligne fonctionne. Au revoir."
    "We have heard you. Your line works. Goodbye."

    /// You were not heard. Goodbye.
    EchoUnheard "echo_unheard"
    "Nous n'avons rien entendu. Vérifiez que votre micro n'est pas coupé, puis rappelez. Au revoir."
    "We have heard nothing. Please check that you are not muted, then call again. Goodbye."
}
